"""The project's documents as tests read them: code blocks with their marks, trees, headings."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "jobs/README.md",
    "model/README.md",
    "model/nano/README.md",
    "pipeline/README.md",
    "pipeline/audit/README.md",
    "pipeline/DECISIONS.md",
    "pipeline/release/README.md",
)
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
_BLOCK = re.compile(r"^(?:<!-- not run: ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A code block of a document."""

    document: str
    language: str
    """Empty for the tree of a folder."""
    code: str
    not_run: str
    """Why no test runs it; empty if one does."""

    @property
    def commands(self) -> list[str]:
        """The command lines of a bash block, each in one line, without comments."""
        lines = re.sub(r"\s*\\\n\s*", " ", self.code).splitlines()
        return [line for line in (re.sub(r"\s+# .*", "", line) for line in lines) if line]


BLOCKS = [
    Block(document=name, language=language, code=code, not_run=reason or "")
    for name, text in TEXTS.items()
    for reason, language, code in _BLOCK.findall(text)
]


def anchors(text: str) -> set[str]:
    """What a link to a heading of a document may name, as GitHub makes it of the heading."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def tree(block: Block) -> list[str]:
    """The paths in the tree of a folder, relative to its first line where that is the folder itself."""
    found, parents = [], list[str]()
    for line in block.code.splitlines():
        branch = re.match(r"[│├└─ ]*", line)
        depth = len(branch.group()) // 4
        names = re.split(r"\s{2,}", line[branch.end() :])[0]
        for name in names.split(", "):
            parents[depth:] = [name.rstrip("/")]
            found.append("/".join(parents))
    return found
