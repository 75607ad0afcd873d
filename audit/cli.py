"""The command line. Exit codes: 0 done or meets, 1 some evidence failed or does not meet, 2 misuse, 130 cancelled."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from audit import terminal
from audit.errors import AuditError, Cancelled, CaseError, suggest
from audit.lab import SCENARIOS
from audit.live import commands

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Audit forgetting: is the knowledge gone, or only hidden? Add --debug to any command for a traceback.",
)
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]


@app.command()
def run(
    case: Annotated[Path, typer.Argument(metavar="CASE.toml", help="The case file.")],
    out: Annotated[
        Path | None, typer.Option(help="Run folder; default: runs/<name of the case file's folder>.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this evidence; may be repeated.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that measure side by side; 0 chooses by models and machine.")
    ] = 0,
) -> None:
    """Run or resume an audit and print the verdicts."""
    from audit.casefile import read_plan
    from audit.run import run_audit

    plan = read_plan(case)
    for warning in plan.warnings:
        terminal.say(f"Note: {warning}")
    folder = out or Path("runs") / (case.resolve().parent.name or "audit")
    try:
        with terminal.following() as listen:
            outcome = run_audit(plan, folder, only=only, device=device, workers=workers, listen=listen)
    except KeyboardInterrupt:  # here, because typer answers it with an exit code and no word
        raise Cancelled("Cancelled. What was finished is kept; run again to go on.") from None
    terminal.verdicts(outcome.run)
    terminal.say(f"{outcome.computed} findings measured, {outcome.kept} taken over. Run folder: {folder}")
    for failure in outcome.failed:
        terminal.complain(f"Failed: {failure}")
    raise typer.Exit(1 if outcome.failed else 0)


@app.command()
def show(
    run: RunFolder,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    policy: Annotated[Path | None, typer.Option(help="Policy file; default: the shipped one.")] = None,
) -> None:
    """Show the findings and verdicts of a run."""
    from audit.policy import load_policy
    from audit.report import summary
    from audit.store import open_run

    opened, rules = open_run(run), load_policy(policy)
    if as_json:
        sys.stdout.write(json.dumps(summary(opened, rules), ensure_ascii=False, allow_nan=False) + "\n")
    else:
        terminal.verdicts(opened, rules)
        terminal.findings(opened)


@app.command()
def check(
    run: RunFolder,
    policy: Annotated[Path | None, typer.Option(help="Policy file; default: the shipped one.")] = None,
    candidate: Annotated[str | None, typer.Option(help="Only this candidate; default: all must meet it.")] = None,
) -> None:
    """For pipelines: does every candidate (or the one named) meet the policy?"""
    from audit.policy import judge, load_policy
    from audit.store import open_run

    opened, rules = open_run(run), load_policy(policy)
    if candidate is not None and candidate not in opened.candidates:
        raise CaseError(f'The run has no candidate "{candidate}".{suggest(candidate, opened.candidates)}')
    meets = True
    for name in [candidate] if candidate else opened.candidates:
        judgement = judge(rules, opened.findings(name))
        passed = judgement.meets(rules)
        meets = meets and passed
        terminal.say(f"{name}: {'meets' if passed else 'does not meet'} the policy. {terminal.words(judgement)}")
    raise typer.Exit(0 if meets else 1)


@app.command()
def export(
    run: RunFolder,
    to: Annotated[Path, typer.Option(metavar="FILE", help="Ends in .html, .pdf, .json or .zip.")],
    policy: Annotated[Path | None, typer.Option(help="Policy file; default: the shipped one.")] = None,
) -> None:
    """Write a portable report, or a bundle of all evidence."""
    from audit.policy import load_policy
    from audit.report import export as write
    from audit.store import open_run

    terminal.say(f"Written: {write(open_run(run), load_policy(policy), to)}")


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle (.zip) or a run folder.")],
) -> None:
    """Recompute every digest, offline: exit code 0 intact, 1 altered."""
    from audit.report.bundle import faults

    found = faults(bundle)
    for fault in found:
        terminal.complain(f"{fault.file} {fault.what}.")
    terminal.say(f"{bundle}: {f'{len(found)} faults' if found else 'intact, every digest agrees'}.")
    raise typer.Exit(1 if found else 0)


@app.command()
def review(
    run: RunFolder,
    comment: Annotated[str, typer.Option(metavar="TEXT", help="Add a comment.")] = "",
    sign: Annotated[str, typer.Option(metavar="SENTENCE", help="Sign, in your own words; needs --decision.")] = "",
    decision: Annotated[str, typer.Option(help="accept, reject or needs_work; alone: on the finding named.")] = "",
    candidate: Annotated[str, typer.Option(help="What it is about; default: the whole audit.")] = "",
    evidence: Annotated[str, typer.Option(metavar="ID", help="One finding of the candidate.")] = "",
    policy: Annotated[Path | None, typer.Option(help="Policy file; default: the shipped one.")] = None,
) -> None:
    """List comments, decisions and signatures with their validity, or add one."""
    from audit.policy import load_policy
    from audit.review import ledger, roles
    from audit.store import open_run
    from audit.views.reviews import open_reviews

    opened, rules = open_run(run), load_policy(policy)
    if sign and (comment or evidence):
        raise CaseError(
            "A signature is on a candidate or the whole audit: give --sign without --comment or --evidence."
        )
    kind = "signature" if sign else "decision" if decision else "comment" if comment else ""
    if kind:
        ledger.write(
            opened, roles.on_this_machine(), kind, rules, candidate=candidate, evidence=evidence, text=sign or comment,
            decision=decision,
        )  # fmt: skip
    terminal.reviews(open_reviews(opened, rules))


@app.command()
def lab(
    scenario: Annotated[str, typer.Argument(help=f"Which scenario to build: {', '.join(SCENARIOS)}.")],
    out: Annotated[Path, typer.Option(help="Folder for models, corpora and case file.")],
    seed: Annotated[int, typer.Option(help="Another seed gives other people and other weights.")] = 0,
    scale: Annotated[str, typer.Option(help="small (about 1 M parameters) or tiny (for tests).")] = "small",
) -> None:
    """Build small models whose truth is known, and the case file that audits them."""
    from audit.lab import build

    with terminal.bar() as update:
        case = build(scenario, out, seed=seed, scale=scale, progress=update)
    terminal.say(f"Built. Audit it with: python -m audit run {case}")


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Results files of other tools, or folders.")],
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/imported-<name>.")] = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            help="Results of a model that never saw the forget set, for scores that compare; may be repeated."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the run; default: made from the paths.")] = "",
) -> None:
    """Read results of other tools into a run: what they say, and the same recomputed from their items."""
    from audit.interop.cards import not_results
    from audit.interop.importer import import_results, in_words
    from audit.views.intake import folder_for

    first = paths[0].resolve()
    folder = out or folder_for(f"imported-{first.name if first.is_dir() else first.stem}", Path("runs"))
    run, found = import_results(paths, folder, reference or (), name)
    for sentence in found.left_out.values():
        terminal.complain(f"Left out: {sentence}")
    if found.unknown:
        terminal.complain(not_results(found.unknown))
    for line in in_words(run):
        terminal.say(line)
    terminal.say(f"Run folder: {folder}")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders; of two, what changed since too.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    policy: Annotated[Path | None, typer.Option(help="Policy file; default: the shipped one.")] = None,
) -> None:
    """Candidates of any runs beside each other; of two runs, what changed from the first to the second."""
    from audit.policy import load_policy
    from audit.views.changes import compared_json

    told = compared_json(runs, load_policy(policy))
    if as_json:
        sys.stdout.write(json.dumps(told, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        terminal.compared(told)


@app.command()
def methods() -> None:
    """List every evidence: what it asks, and what it cannot see."""
    terminal.methods()


app.command()(commands.ask)
app.command()(commands.attack)


def main(arguments: list[str] | None = None) -> None:
    """Run a command; every failure is one sentence and an exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        app(args=arguments, prog_name="python -m audit")
    except Cancelled as error:
        terminal.complain(str(error))
        sys.exit(130)
    except AuditError as error:
        if debug:
            traceback.print_exc()
        terminal.complain(str(error))
        sys.exit(2)
    except Exception as error:  # a user never sees a traceback unless asked for
        if debug:
            raise
        terminal.complain(f"Unexpected {type(error).__name__}: {error}. Add --debug to see where.")
        sys.exit(2)
