"""English words that carry no matter of their own."""

import re

FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a about above after again against all almost also although always am among an and another
        any are around as at be because been before being below between both but by can could d
        did do does doing don done down during each either else ever every few for from further
        get go got had has have having he her here hers herself hey hi him himself his how however
        i if im in into is it its itself just ll lol many may me might mine more most much must my
        myself neither never no nor not now of off oh on once one only onto or other others our
        ours ourselves out over own re rather s same see seem she should since so some such t than
        thank thanks that the their theirs them themselves then there these they this those though
        through thus to together too toward under until up upon us ve very was we well were what
        when where whether which while who whom whose why will with within without would wow yeah
        yet you your yours yourself
        """,
    )
)
