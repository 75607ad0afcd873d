"""The command line's two live commands: ask the models of a run something, attack one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit import terminal
from audit.errors import Cancelled


def ask(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="A question, or the id of an item.")],
    candidate: Annotated[
        list[str] | None, typer.Option(help="Only these candidates; may be repeated. Default: all.")
    ] = None,
    answer: Annotated[str, typer.Option(help="The true answer, for its probability and its rank.")] = "",
    temperature: Annotated[float, typer.Option(help="0 takes the most likely token every time.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Draw from the most likely tokens up to this share.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Another seed draws other samples.")] = 0,
    guard_off: Annotated[
        bool, typer.Option("--guard-off", help="Ask the model under each guard or filter too.")
    ] = False,
    length: Annotated[int, typer.Option(help="Most tokens of an answer.")] = 40,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Ask original, reference and candidates the same and print what each says."""
    from audit.live import Models, case_file_of
    from audit.live.ask import Sampling, answers, question
    from audit.live.told import told
    from audit.store import open_run
    from audit.views.playground import table

    models = Models(case_file_of(open_run(run)), device=device)
    item = models.item(prompt) if ":" in prompt and prompt.split(":")[1].isdigit() else question(prompt, answer)
    names = models.chosen(candidate, guard_off)
    said = {piece.name: piece for piece in answers(models, names, item, Sampling(temperature, top_p, seed, length))}
    thoughts = [told(models, name, item) for name in names]
    models.close()
    terminal.frame(table(said, thoughts), item.prompt)


def attack(
    case: Annotated[Path, typer.Argument(metavar="CASE.toml", help="The case file.")],
    candidate: Annotated[str, typer.Option(help="The candidate that is attacked.")],
    out: Annotated[Path, typer.Option(help="Folder for what it says along the way.")],
    steps: Annotated[int, typer.Option(help="Training steps.")] = 40,
    lr: Annotated[float, typer.Option(help="Learning rate; 0 chooses it by the model's size.")] = 0.0,
    facts: Annotated[int, typer.Option(help="Facts that the attacker knows; 0: all that may be known.")] = 0,
    every: Annotated[int, typer.Option(help="Ask after every so many steps.")] = 2,
    seed: Annotated[int, typer.Option(help="Which run of the evidence attacks.relearn.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Attack a candidate by relearning, its control beside it, and print the curve."""
    from audit.live.attack import run_attack, watched
    from audit.views.live_attack import curve, read_attack, sentence

    settings = watched(steps, lr, facts, every)
    try:
        with terminal.following() as listen:
            run_attack(case, candidate, out, settings, seed=seed, device=device, listen=listen)
    except KeyboardInterrupt:
        raise Cancelled("Cancelled. What was heard until then is kept.") from None
    found = read_attack(out)
    if found is not None:
        terminal.frame(curve(found), f"{candidate} under attack")
    terminal.say(sentence(found))
