"""The documentation keeps up with the program, and nothing private to one machine is in the project."""

import inspect
import re
from dataclasses import fields

import pytest

from gooseguard.core import errors
from gooseguard.core.taxonomy import load_taxonomy
from gooseguard.evaluation.report import CategoryMetrics

HELP = "--help"


def options(command):
    """Give the long options of a command, --help aside."""
    return [
        name
        for parameter in command.params
        for name in [*parameter.opts, *parameter.secondary_opts]
        if name.startswith("--") and name != HELP
    ]


def page_of(verb):
    """Give the page of a verb: `data build` is described in docs/data.md, the program in docs/cli.md."""
    return f"docs/{verb.partition(' ')[0] or 'cli'}.md"


def test_every_verb_and_every_option_is_described_on_the_page_of_its_verb(commands, texts):
    missing = []
    for verb, command in commands.items():
        page = texts.get(page_of(verb), "")
        wanted = [f"gooseguard {verb}".strip()]
        wanted += [f"`{name}" for name in options(command)]
        missing += [f"{page_of(verb)}: {name}" for name in wanted if name not in page]
    assert not missing, "\n".join(missing)


def test_no_page_describes_an_option_that_is_not_there(commands, texts):
    known = {name for command in commands.values() for name in options(command)} | {HELP}
    pages = {page_of(verb) for verb in commands}
    gone = [
        f"{page}: {name}"
        for page in sorted(pages)
        for name in re.findall(r"`(--[a-z][a-z-]*)", texts.get(page, ""))
        if name not in known
    ]
    assert not gone, "\n".join(gone)


def test_the_overview_links_the_page_of_every_verb(commands, texts):
    for verb in filter(None, commands):
        assert f"({page_of(verb).removeprefix('docs/')})" in texts["docs/cli.md"], verb


def test_every_error_is_described(texts):
    described = texts["docs/concepts.md"] + texts["docs/formats.md"]
    names = [name for name, _ in inspect.getmembers(errors, inspect.isclass)]
    assert [name for name in names if f"`{name}`" not in described] == []


def test_every_category_is_named(texts):
    assert [name for name in load_taxonomy() if f"`{name}`" not in texts["docs/concepts.md"]] == []


def test_every_metric_of_a_report_is_described(texts):
    names = [field.name for field in fields(CategoryMetrics) if field.name != "threshold"]
    assert [name for name in names if f"`{name}`" not in texts.get("docs/eval.md", "")] == []


def test_every_metric_of_a_server_is_described(texts):
    from gooseguard.serving.metrics import Metrics
    from gooseguard.serving.verdict_log import LogCounts

    families = Metrics(LogCounts).registry.collect()
    names = {
        # Prometheus adds _total to counters; process_… are its own.
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in families
        if not family.name.startswith("process_")
    }
    assert len(names) > 10
    assert sorted(names) == sorted(
        set(re.findall(r"^\| `(gooseguard_\w+)`", texts["docs/metrics.md"], re.MULTILINE))
    )


def test_changelog_has_a_place_for_what_is_not_released(texts):
    changelog = texts["CHANGELOG.md"]
    assert re.search(r"^## \[Unreleased\]$", changelog, re.MULTILINE)
    assert set(re.findall(r"^### (.+)$", changelog, re.MULTILINE)) <= {
        "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security",
    }  # fmt: skip


def test_links_between_pages_lead_somewhere(root, texts):
    prose = {
        name: re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        for name, text in texts.items()
        if name.endswith(".md")
    }
    broken = [
        f"{name}: {target}"
        for name, text in prose.items()
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
        if "://" not in target and not (root / name).parent.joinpath(target).exists()
    ]
    assert not broken, "\n".join(broken)


def test_pages_that_code_refers_to_are_there(root, texts):
    missing = [
        f"{name}: {page}"
        for name, text in texts.items()
        if name.startswith(("src/", "recipes/", "examples/"))
        for page in re.findall(r"docs/[\w/-]+\.md", text)
        if not (root / page).is_file()
    ]
    assert not missing, "\n".join(missing)


FORBIDDEN = {
    "a path of one machine": r"(?<![\w.~}-])/(?:home|work|root|Users)/\w",
    "a package index of one machine": r"(?:extra-)?index" + r"-url|find" + r"-links|PIP_" + r"INDEX",
    "an address of one network": r"https?://(?:localhost|10\.\d|192\.168\.|127\.0)",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_nothing_private_to_one_machine(texts, what):
    pattern = re.compile(FORBIDDEN[what])
    assert {name: match[0] for name, text in texts.items() if (match := pattern.search(text))} == {}


def test_every_exemption_says_why(texts):
    """A noqa or an ignored type has its reason after it, or in a comment up to three lines above.

    A late import (PLC0415) needs none: what the base install must not pull in is tested in test_imports.py.
    """
    bare = re.compile(r"# (?:noqa: [A-Z0-9, ]+|noqa|type: ignore(?:\[[a-z, -]+\])?)$")
    silent = []
    for name, text in texts.items():
        lines = text.splitlines()
        silent += [
            f"{name}:{number + 1}"
            for number, line in enumerate(lines)
            if name.startswith("src/")
            and bare.search(line)
            and not line.endswith("PLC0415")
            and not any(above.lstrip().startswith("# ") for above in lines[max(number - 3, 0) : number])
        ]
    assert not silent, "\n".join(silent)
