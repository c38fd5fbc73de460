"""The web chat in a real browser: every control, by mouse and by keys, on a desk and on a phone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import browser as chromium
from friend_fakes import on_disk
from serving import PERSONAS, Server

from oldfriend.app.serve.app import WEB

MOST = 300_000  # bytes of our own


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server


class Page:
    """A tab on the page of ``server``, with everything that it asked for and complained of."""

    def __init__(self, browser: Any, server: Server, **options: Any) -> None:
        self.context = browser.new_context(accept_downloads=True, **options)
        self.tab = self.context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on(
            "console",
            lambda said: said.type == "error" and self.complaints.append(said.text),
        )
        self.open(server)

    def open(self, server: Server) -> None:
        self.tab.goto(server.url)
        self.tab.wait_for_selector("html[data-ready=yes]")

    def say(self, text: str, reply: str) -> None:
        self.tab.get_by_label("Your message").fill(text)
        self.tab.keyboard.press("Enter")
        self.sees(reply)
        self.tab.wait_for_selector("#send:not([disabled])")

    def sees(self, text: str) -> None:
        self.tab.get_by_text(text).filter(visible=True).last.wait_for()

    def press(self, name: str, **options: Any) -> None:
        self.tab.get_by_role("button", name=name, **options).click()

    def notes(self) -> list[str]:
        found: list[str] = self.tab.locator("#memories .text").all_inner_texts()
        return found

    def answer(self, yes: str, value: str = "") -> None:
        dialog = self.tab.get_by_role("dialog")
        if value:
            dialog.get_by_role("textbox").fill(value)
        dialog.get_by_role("button", name=yes, exact=True).click()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Page]:
    page = Page(browser, server)
    yield page
    page.context.close()
    assert page.complaints == []
    own = [url for url in page.asked if not url.startswith(("blob:", "data:"))]
    assert all(url.startswith(server.url) for url in own), "nothing is fetched from elsewhere"


def test_a_conversation_is_streamed_and_goes_on_after_a_reload(page: Page, server: Server) -> None:
    page.say("My cat is called Miro. <b onclick=alert(1)>x</b>", "Tell me more.")
    page.sees("Noted: pet name: Miro")
    page.say("What is my cat called?", "It is Miro.")
    assert page.tab.locator("#talk b").count() == 0, "text is text"
    page.open(server)
    page.sees("It is Miro.")
    assert page.tab.locator(".turn.me").count() == 2
    page.tab.get_by_label("Your message").fill("one\ntwo")
    page.tab.keyboard.press("Shift+Enter")
    assert page.tab.locator(".turn.me").count() == 2, "Shift+Enter is a new line"


def test_why_is_there_when_it_is_wanted(page: Page) -> None:
    page.say("My cat is called Miro.", "Tell me more.")
    page.say("What is my cat called?", "It is Miro.")
    why = page.tab.locator("details.why").last
    assert not why.is_visible()
    page.press("Why?")
    why.get_by_text("Why I said that").click()
    page.sees("It stands on: your pet name: Miro")
    assert page.tab.get_by_text("memory needed").last.is_visible()
    page.press("Why?")
    assert not why.is_visible()


def test_memories_are_put_right_kept_found_and_erased(
    page: Page, server: Server, tmp_path: Path
) -> None:
    page.press("Memory", exact=True)
    page.sees("Nothing yet.")
    page.say("My cat is called Miro.", "Tell me more.")
    page.say("I live in Rome.", "Tell me more.")
    page.sees("2 remembered")
    page.press("Wrong: pet name: Miro")
    page.answer("Cancel")
    page.press("Wrong: pet name: Miro")
    page.answer("Put right", "Mira")
    page.sees("pet name: Mira")
    page.press("Pin: home city: Rome")
    page.sees("pinned")
    page.press("Unpin: home city: Rome")
    page.tab.get_by_role("button", name="Pin: home city: Rome", exact=True).wait_for()
    page.tab.get_by_label("Search memories").fill("Where do I live?")
    page.sees("found")
    assert page.notes()[0] == "home city: Rome"
    page.tab.get_by_label("Search memories").fill("")
    page.tab.get_by_label("also what was said").check()
    page.sees("user: I live in Rome.")
    page.tab.get_by_label("also what was said").uncheck()
    page.press("Forget: home city: Rome")
    page.sees("user: I live in Rome.")  # what it takes along
    page.answer("Forget")
    page.sees("found nowhere")
    assert not on_disk(tmp_path / "memory", "Rome")
    with page.tab.expect_download() as download:
        page.press("Take it all along")
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert any(json.loads(line)["value"] == "Mira" for line in lines)
    page.press("Forget me")
    page.answer("Forget me", "no")
    page.sees("Nothing was forgotten.")
    page.press("Forget me")
    page.answer("Forget me", "forget me")
    page.sees("found nowhere")
    assert server.pool_users() == [] and page.tab.locator(".turn").count() == 0
    page.press("Close memory")
    assert not page.tab.locator("#memory").is_visible()


def test_personas_are_picked_and_brought(page: Page, server: Server, tmp_path: Path) -> None:
    from oldfriend.persona import card as cards

    page.press("Talking with Old friend")
    page.press("Dragana", exact=True)
    greeting = cards.read(PERSONAS / "dragana.yaml").data.first_mes[:30]
    page.sees(greeting)
    page.say("Hello.", "Tell me more.")
    assert server.voice.personas[-1] == "Dragana"
    mine = cards.read(PERSONAS / "mairi.yaml").edited(name="Kestrel", nickname="")
    cards.write(mine, tmp_path / "kestrel.png")
    page.press("Talking with Dragana")
    page.tab.get_by_label("choose a file").set_input_files(tmp_path / "kestrel.png")
    page.sees("Kestrel is here.")
    # The same by drag and drop, refused as it is here already.
    page.tab.evaluate(
        """async (bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "again.png"));
            for (const kind of ["dragover", "drop"])
                dispatchEvent(new DragEvent(kind, { dataTransfer: data, cancelable: true }));
        }""",
        list((tmp_path / "kestrel.png").read_bytes()),
    )
    page.sees("again.png was not taken: there is a persona 'kestrel' already.")
    page.complaints.clear()  # the browser logs every refusal
    page.press("Kestrel", exact=True)
    page.say("Are you there?", "Tell me more.")
    assert server.voice.personas[-1] == "Kestrel"
    page.open(server)
    page.press("Talking with Kestrel")
    page.press("Delete Kestrel")
    page.sees("Kestrel is gone.")
    page.press("Close", exact=True)
    assert page.tab.locator("#persona-name").inner_text() == "Old friend"


def test_light_and_dark(page: Page, server: Server) -> None:
    def ground() -> Any:
        return page.tab.evaluate("getComputedStyle(document.body).backgroundColor")

    page.tab.emulate_media(color_scheme="light")
    light = ground()
    page.tab.emulate_media(color_scheme="dark")
    dark = ground()
    assert light != dark, "as the system has it"
    page.press("Switch between light and dark")
    assert ground() == light
    page.open(server)
    assert ground() == light, "it stays as chosen"
    page.press("Switch between light and dark")
    assert ground() == dark


def test_everything_by_keys(page: Page, server: Server) -> None:
    page.say("My cat is called Miro.", "Tell me more.")
    keys = page.tab.keyboard
    seen = []
    page.tab.evaluate("document.activeElement.blur()")
    for _ in range(16):
        keys.press("Tab")
        seen.append(page.tab.evaluate("document.activeElement.id"))
    order = ["persona-button", "why-toggle", "theme", "memory-button", "talk", "message", "send"]
    assert seen[seen.index(order[0]) :][: len(order)] == order
    page.tab.locator("#memory-button").focus()
    keys.press("Enter")
    assert page.tab.evaluate("document.activeElement.id") == "query"
    keys.press("Escape")
    assert page.tab.evaluate("document.activeElement.id") == "memory-button"
    page.tab.locator("#persona-button").focus()
    keys.press("Enter")
    assert page.tab.get_by_role("dialog").is_visible()
    keys.press("Escape")
    assert not page.tab.get_by_role("dialog").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Page, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")

    # Its script stands in for a page's own; ours refuses all but its own files.
    def serious() -> list[Any]:
        found = axe.run(page.tab).response["violations"]
        return [(v["id"], v["nodes"][0]["html"]) for v in found]

    page.say("My cat is called Miro.", "Tell me more.")
    page.press("Why?")
    page.press("Memory", exact=True)
    page.sees("1 remembered")
    assert serious() == []
    page.press("Forget: pet name: Miro")
    page.tab.get_by_role("dialog").wait_for()
    assert serious() == []
    page.answer("Cancel")
    page.press("Talking with Old friend")
    page.tab.get_by_role("button", name="Dragana", exact=True).wait_for()
    assert serious() == []
    page.tab.evaluate("cast.append(Object.assign(new Image(), {src: 'icon.svg'}))")
    assert serious(), "it would find something"


def test_it_fits_a_phone(browser: Any, server: Server) -> None:
    page = Page(
        browser, server, viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True
    )
    page.say("My cat is called " + "Mi" * 100 + "ro.", "Tell me more.")

    def overflow() -> Any:
        return page.tab.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )

    assert overflow() == 0
    for name in ("persona-button", "why-toggle", "theme", "memory-button", "send", "message"):
        box = page.tab.locator(f"#{name}").bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= 360, name
        assert box["height"] >= 40, f"{name} can be touched"
    page.press("Memory", exact=True)
    page.sees("1 remembered")
    assert overflow() == 0
    assert page.tab.locator("#memory").bounding_box()["width"] == 360
    page.press("Close memory")
    page.press("Talking with Old friend")
    assert overflow() == 0
    assert page.complaints == []
    page.context.close()


def test_a_key_is_asked_for_where_one_is_needed(browser: Any, tmp_path: Path) -> None:
    with Server(tmp_path, ["ada"]) as server:
        context = browser.new_context()
        tab = context.new_page()
        tab.goto(server.url)
        for key, answer in (("of-wrong", "That key opens nothing here."), (server.keys["ada"], "")):
            tab.get_by_role("dialog").get_by_label("Key").fill(key)
            tab.get_by_role("button", name="Enter", exact=True).click()
            if answer:
                tab.get_by_text(answer).wait_for()
        tab.wait_for_selector("html[data-ready=yes]")
        tab.get_by_label("Your message").fill("My cat is called Miro.")
        tab.get_by_role("button", name="Send").click()
        tab.get_by_text("Noted: pet name: Miro").wait_for()
        assert server.pool_users() == ["ada"]
        assert server.keys["ada"] not in tab.content() + tab.url
        context.close()


def test_what_fails_is_said_and_nothing_typed_is_lost(page: Page, server: Server) -> None:
    refuse = """{"error": {"message": "too many people are talking", "type": "x"}}"""
    page.tab.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(status=503, content_type="application/json", body=refuse),
    )
    page.tab.get_by_label("Your message").fill("My cat is called Miro.")
    page.press("Send")
    page.sees("That did not work: too many people are talking.")
    assert page.tab.get_by_label("Your message").input_value() == "My cat is called Miro."
    assert page.tab.locator(".turn").count() == 0
    page.complaints.clear()
    page.tab.unroute("**/v1/chat/completions")
    drops = iter([True, False])
    page.tab.route(
        "**/v1/chat/completions",
        lambda route: route.abort() if next(drops) else route.continue_(),
    )
    page.press("Send")
    page.sees("Tell me more.")
    page.complaints.clear()


def test_the_page_is_small() -> None:
    files = [path for path in WEB.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".html", ".css", ".js", ".svg"}
    assert sum(path.stat().st_size for path in files) < MOST
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert "innerHTML" not in text and "eval(" not in text
        assert not [line for line in text.splitlines() if "//" in line and "http" in line
                    and "w3.org" not in line and "needs https" not in line], path  # fmt: skip
