"""The life simulator: people with changing lives, every talk of their year, and the truth."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial
from random import Random

from oldfriend.corpus.banks import Joke, Promise, Slot
from oldfriend.corpus.people import Known, Life, Person, Telling, cast, value_for
from oldfriend.corpus.schema import Conversation, Fact, Split
from oldfriend.corpus.script import Place, Script
from oldfriend.corpus.seeds import Seeds
from oldfriend.corpus.settings import SimulatorParams
from oldfriend.corpus.speech import Draft, Value, fill

SOURCE = "simulator"


def simulate(params: SimulatorParams, seeds: Seeds) -> tuple[list[Conversation], list[Life]]:
    """Let everybody live through a year: their conversations, and the truth about each life."""
    talks: list[Conversation] = []
    lives: list[Life] = []
    for person in cast(params, seeds):
        year = _Year(params, seeds, person)
        talks += [year.session(number) for number in range(len(person.times))]
        lives.append(year.life())
    return talks, lives


def fact_of(name: str, slot: Slot, value: str, old: str | None = None) -> Fact:
    """A fact about a slot, not yet placed in a text."""
    return Fact(
        slot=name,
        value=value,
        kind=slot.kind,
        subject=slot.subject,
        cardinality=slot.cardinality,
        start=0,
        end=len(value),
        importance=slot.importance,
        old_value=old,
    )


class _Year:
    """One person's year, told session by session."""

    def __init__(self, params: SimulatorParams, seeds: Seeds, person: Person) -> None:
        self._params, self._seeds, self._person = params, seeds, person
        self._split: Split = person.split
        self._rng = Random(f"year {person.id}")
        self._say = Script(person.split, seeds.life.idiolects[person.idiolect], self._rng)
        self._facts: list[Known] = []
        self._jokes: list[tuple[Joke, Place]] = []  # each with the turn that made it
        self._promises: list[tuple[Promise, Place]] = []
        told = {telling.value for session in person.tellings for telling in session}
        self._used = {person.name, *told, *seeds.name_alikes}
        self._session = 0

    def session(self, number: int) -> Conversation:
        """The conversation of session ``number``; sessions must be asked for in their order."""
        self._session = number
        self._say.begin(self._id)
        situation = self._rng.choice(sorted(self._seeds.life.situations))
        beats = self._beats(situation)
        self._rng.shuffle(beats)
        self._open(situation)
        for beat in beats:
            beat()
        self._close()
        return Conversation(
            id=self._id,
            person=self._person.id,
            source=SOURCE,
            licence="ours",
            session=number,
            time=self._person.times[number],
            split=self._split,
            situation=situation,
            turns=tuple(self._say.turns),
        )

    def life(self) -> Life:
        """The truth, once all sessions are over."""
        told = {fact.slot for fact in self._facts}
        return Life(
            person=self._person.id,
            name=self._person.name,
            split=self._split,
            idiolect=self._person.idiolect,
            interest=self._person.interest,
            early=self._person.early,
            facts=tuple(self._facts),
            unsaid=tuple(name for name in sorted(self._seeds.slots) if name not in told),
            moments=tuple(self._say.moments),
        )

    @property
    def _id(self) -> str:
        return f"{self._person.id}-{self._session:02d}"

    @property
    def _today(self) -> date:
        return self._person.times[self._session].date()

    def _beats(self, situation: str) -> list[Callable[[], None]]:
        """All that happens in this session between hello and goodbye, in no order yet."""
        params, happens = self._params, self._happens
        beats: list[Callable[[], None]] = [partial(self._tell, group) for group in self._groups()]
        beats += [
            partial(self._chat, situation) for _ in range(self._rng.randint(*params.smalltalk))
        ]
        beats += [self._near_miss for _ in range(self._rng.randint(*params.near_misses))]
        if self._person.interest:
            beats += [
                partial(self._mention, self._person.interest)
                for _ in range(self._person.mentions[self._session])
            ]
        others = [niche for niche in sorted(self._seeds.niches) if niche != self._person.interest]
        if others and happens(params.passing_share):
            beats.append(partial(self._mention, self._rng.choice(others)))
        beats += [self._feel] * happens(params.emotion_share)
        beats += [self._recall] * happens(params.recall_share)
        beats += [partial(self._joke, situation)] * happens(params.joke_share)
        beats += [self._promise] * happens(params.promise_share)
        return beats

    def _groups(self) -> list[list[Telling]]:
        """The tellings of this session; those in one group share a turn."""
        groups: list[list[Telling]] = []
        for telling in self._person.tellings[self._session]:
            if groups and len(groups[-1]) == 1 and self._happens(self._params.joint_share):
                groups[-1].append(telling)
            else:
                groups.append([telling])
        return groups

    def _open(self, situation: str) -> None:
        """Somebody begins: the person with an opener, or the friend, and the person answers."""
        bank = self._seeds.life.situations[situation]
        friend = self._say.deal(bank.friend_openers)
        if self._happens(0.5):
            self._say.user(self._say.deal(bank.openers.of(self._split)))
            self._say.friend(friend)
        else:
            self._say.friend(friend)
            exchange = self._say.deal(bank.followups.of(self._split))
            self._say.user(exchange.say)
            self._say.friend(exchange.reply)

    def _close(self) -> None:
        bank = self._seeds.life.farewells
        self._say.user(self._say.deal(bank.say, undivided=True))
        self._say.friend(self._say.deal(bank.reply))

    def _tell(self, group: Sequence[Telling]) -> None:
        """Tell one fact or two in one turn, sometimes with small talk before or after."""
        sentences: list[Draft] = []
        for telling in group:
            slot = self._seeds.slots[telling.slot]
            bank = slot.change if telling.old and slot.change else slot.say
            fact = fact_of(telling.slot, slot, telling.value, telling.old)
            template = self._say.deal(bank.of(self._split))
            sentences.append(fill(template, Value(telling.value, fact), telling.old or ""))
            self._learn(telling, slot)
        if self._happens(self._params.mixed_share):
            chat = self._say.deal(self._seeds.life.smalltalk.of(self._split)).say
            sentences.insert(self._rng.choice((0, len(sentences))), (chat,))
        self._say.user(*sentences, told=True)
        last = group[-1]
        react = self._say.deal(self._seeds.slots[last.slot].react)
        self._say.friend(react.replace("{value}", last.value))

    def _learn(self, telling: Telling, slot: Slot) -> None:
        """Write down that the next turn tells the truth about a slot."""
        if telling.old:  # it changed on some day since the last session
            day = self._person.times[self._session - 1].date()
            since = day + timedelta(days=self._rng.randint(1, (self._today - day).days))
            for index, known in enumerate(self._facts):
                if known.slot == telling.slot and known.valid_to is None:
                    self._facts[index] = known.model_copy(update={"valid_to": since})
        else:
            recent = slot.kind in ("event", "promise", "emotion", "shared joke")
            since = self._today - timedelta(days=self._rng.randint(0, 6 if recent else 2000))
        self._facts.append(
            Known(
                slot=telling.slot,
                value=telling.value,
                said_on=self._today,
                valid_from=since,
                conversation=self._id,
                turn=self._say.here[1],
            )
        )

    def _chat(self, situation: str) -> None:
        life = self._seeds.life
        banks = (life.smalltalk, life.situations[situation].followups, life.courtesies)
        (bank,) = self._rng.choices(banks, (0.5, 0.3, 0.2))
        exchange = self._say.deal(bank.of(self._split))
        self._say.user(exchange.say)
        self._say.friend(exchange.reply)

    def _near_miss(self) -> None:
        """Say something about a slot that is no fact about the person."""
        name = self._rng.choice(sorted(self._seeds.slots))
        slot = self._seeds.slots[name]
        value = value_for(slot, self._split, self._used, self._rng)
        if value is None:
            return
        said = Value(value, fact_of(name, slot, value))
        self._say.user(fill(self._say.deal(slot.near_miss.of(self._split)), said), role="near_miss")
        self._say.friend(self._say.deal(self._seeds.glue.nods))

    def _mention(self, name: str) -> None:
        """Mention a niche. Enthusiasts held out for test keep its test bank for later sessions."""
        niche, personal = self._seeds.niches[name], name == self._person.interest
        early = personal and self._session < self._person.early
        split: Split = "train" if early else self._split
        value = self._say.deal(niche.values.of(split))
        fact = Fact(slot=name, value=value, kind=niche.kind, start=0, end=len(value), importance=6)
        draft = fill(self._say.deal(niche.say.of(split)), Value(value, fact))
        self._say.user(draft, role="interest" if personal else "passing")
        self._say.friend(self._say.deal(niche.react).replace("{value}", value))

    def _feel(self) -> None:
        """Show an emotion; the friend replies by a strategy that suits it."""
        name = self._rng.choice(sorted(self._seeds.life.emotions))
        emotion = self._seeds.life.emotions[name]
        outburst = self._say.deal(emotion.of(self._split))
        intensity = round(self._rng.uniform(*emotion.intensity), 2)
        self._say.user(outburst.say, emotion=name, intensity=intensity, cause=outburst.cause)
        reply = self._say.deal(emotion.replies)
        self._say.friend(reply.text, strategy=reply.strategy)

    def _recall(self) -> None:
        """Ask the friend about something told in an earlier session; the answer is right."""
        earlier = [fact for fact in self._facts if fact.said_on < self._today]
        now = [fact for fact in earlier if fact.valid_to is None]
        told_today = {telling.slot for telling in self._person.tellings[self._session]}
        sure = [
            fact
            for fact in now
            if fact.slot not in told_today and sum(fact.slot == one.slot for one in now) == 1
        ]
        if not sure:
            return
        known = self._rng.choice(sure)
        slot = self._seeds.slots[known.slot]
        former = [fact for fact in earlier if fact.slot == known.slot and fact.valid_to]
        ask, answers = slot.ask, slot.answer
        if slot.ask_past and former and self._happens(0.4):
            known, ask, answers = former[-1], slot.ask_past, self._seeds.glue.past
        self._say.user(self._say.deal(ask.of(self._split)))
        said = Value(known.value, fact_of(known.slot, slot, known.value))
        self._say.friend(fill(self._say.deal(answers), said), role="recall")

    def _joke(self, situation: str) -> None:
        """Make a joke; in a later session the friend comes back to it."""
        if self._jokes and self._jokes[0][1][0] != self._id:
            joke, made = self._jokes.pop(0)
            bank = self._seeds.life.situations[situation].followups
            self._say.user(self._say.deal(bank.of(self._split)).say)
            self._say.friend(joke.callback, strategy="humour", role="callback", refers=made)
        else:
            joke = self._say.deal(self._seeds.life.jokes, undivided=True)
            self._jokes.append((joke, self._say.here))
            self._say.user(joke.setup, role="joke")
            self._say.friend(self._say.deal(self._seeds.glue.nods))

    def _promise(self) -> None:
        """Promise something; in a later session tell whether it was kept."""
        if self._promises and self._promises[0][1][0] != self._id:
            promise, made = self._promises.pop(0)
            if self._happens(self._params.kept_share):
                self._say.user(promise.kept, role="kept", refers=made)
            else:
                self._say.user(promise.broken, role="broken", refers=made)
        else:
            promise = self._say.deal(self._seeds.life.promises, undivided=True)
            self._promises.append((promise, self._say.here))
            self._say.user(promise.say, role="promise")
        self._say.friend(self._say.deal(self._seeds.glue.nods))

    def _happens(self, share: float) -> bool:
        return self._rng.random() < share
