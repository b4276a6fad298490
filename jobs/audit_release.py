"""Audits: people judge a sample that a release's own digest has drawn, and a certificate says what that proves."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.command_line import DONE, answer, parse_config, report, run_commands, run_job
from jobs.commands import COMMANDS
from pipeline.audit.config import AuditConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanConfig:
    """Draw the sample, print what it can prove, and write the pages on which people judge it.

    The sample follows from the SHA-256 of the release's release.json: nobody can choose it.
    """

    release: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RELEASE")]
    """Folder of the release; a path or an fsspec URL."""
    out: str = ""
    """New folder of the audit, on this machine. Default: the release's name and -audit, in the working folder."""
    annotations: str = ""
    """COCO annotation JSON of the images: the editor offers its instances as masks."""
    dry_run: bool = False
    """Print what the sample can prove, and write nothing."""
    audit: AuditConfig = field(default_factory=AuditConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """Serve the pages of an audit on this machine, and save each answer as it is given. Stop with Ctrl-C."""

    audit: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="AUDIT")]
    """Folder of the audit."""
    port: int = 8000
    """Port on the loopback interface; 0 takes any free one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """Write the sample as a task for a labelling tool, with the release's masks to start from."""

    audit: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="AUDIT")]
    """Folder of the audit."""
    to: Literal["coco", "cvat", "label-studio"]
    """Format of the files."""
    out: Path
    """New folder for them."""
    rater: str = ""
    """Only the images of this rater, such as rater-1. Default: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportConfig:
    """Take answers from a labelling tool, from a folder of masks, or from the file that the page has saved."""

    audit: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="AUDIT")]
    """Folder of the audit."""
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The tool's file; a folder for `masks`."""
    format: Annotated[Literal["answers", "coco", "cvat", "label-studio", "masks"], tyro.conf.arg(name="from")]
    """`answers`: what the page has saved. `masks`: a folder of KEY.png, white on black."""
    rater: str = ""
    """Whose answers they are, such as rater-1 or adjudicator. `answers` says so itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjudicateConfig:
    """Put the images on which raters differ, or which one has skipped, on the page of the adjudicator."""

    audit: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="AUDIT")]
    """Folder of the audit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifyConfig:
    """Compute what the answers prove, and add the certificate to the release as an annex.

    An annex is a folder of its own; no file of the release changes.
    """

    audit: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="AUDIT")]
    """Folder of the audit."""
    release: str = ""
    """The release, if it has moved since the plan."""
    missing_as_failures: bool = False
    """Certify although answers are missing or raters' differences are not settled: such images count as bad."""
    dry_run: bool = False
    """Print the certificate, and write nothing."""


def main() -> int:
    """Run the command that the first argument names."""
    commands = {
        "plan": plan,
        "serve": serve,
        "export": export,
        "import": import_answers,
        "adjudicate": adjudicate,
        "certify": certify,
    }
    return run_commands("audit_release", commands)


def plan(arguments: Sequence[str]) -> int:
    """Draw the sample and write the audit's folder; print one JSON line on stdout."""
    config = parse_config(PlanConfig, arguments, COMMANDS["audit plan"])
    from pipeline.audit.start import start_audit

    started = start_audit(
        config.release,
        config.out,
        config.audit,
        annotations=config.annotations,
        dry_run=config.dry_run,
        report=report,
    )
    answer(asdict(started))
    return DONE


def serve(arguments: Sequence[str]) -> int:
    """Serve the pages until somebody presses Ctrl-C."""
    config = parse_config(ServeConfig, arguments, COMMANDS["audit serve"])
    from pipeline.audit.serve import serve_audit

    serve_audit(config.audit, config.port, report)
    return DONE


def export(arguments: Sequence[str]) -> int:
    """Write a task for a labelling tool; print one JSON line on stdout."""
    config = parse_config(ExportConfig, arguments, COMMANDS["audit export"])
    from pipeline.audit.exchange.exported import export_sample

    exported = export_sample(config.audit, config.to, config.out, config.rater, report=report)
    answer(asdict(exported))
    return DONE


def import_answers(arguments: Sequence[str]) -> int:
    """Take answers from elsewhere; print one JSON line on stdout."""
    config = parse_config(ImportConfig, arguments, COMMANDS["audit import"])
    from pipeline.audit.exchange.imported import import_sample

    imported = import_sample(config.audit, config.source, config.format, config.rater, report=report)
    answer(asdict(imported))
    return DONE


def adjudicate(arguments: Sequence[str]) -> int:
    """Write the adjudicator's tasks; print one JSON line on stdout."""
    config = parse_config(AdjudicateConfig, arguments, COMMANDS["audit adjudicate"])
    from pipeline.audit.adjudication import write_adjudication

    answer(asdict(write_adjudication(config.audit, report=report)))
    return DONE


def certify(arguments: Sequence[str]) -> int:
    """Make the certificate; print its sentence, and one JSON line on stdout."""
    config = parse_config(CertifyConfig, arguments, COMMANDS["audit certify"])
    from pipeline.audit.certify import certify_release

    certified = certify_release(
        config.audit,
        config.release,
        missing_as_failures=config.missing_as_failures,
        dry_run=config.dry_run,
        report=report,
    )
    answer(asdict(certified))
    return DONE


if __name__ == "__main__":
    run_job(main)
