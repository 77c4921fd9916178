"""Calls perspectiveapi and begentle, as published, and prints what they give, JSON a line.

Both know one host name, Google's: the caller's HTTPS_PROXY leads it to our server, as DNS would.
"""

import asyncio
import json
import sys

from begentle import CommentAnalyzer
from perspective import Attribute, Perspective
from perspective.blocking import Perspective as BlockingPerspective


def write(value):
    sys.stdout.write(json.dumps(value) + "\n")


def show(score):
    write({name.name: getattr(score, name.name.lower()) for name in Attribute})


show(BlockingPerspective("any").score("you are a moron", [Attribute.TOXICITY, Attribute.INSULT]))
show(asyncio.run(Perspective("any").score("have a nice day")))
write(CommentAnalyzer("any").analyze("you are a moron"))
