"""``adhere chat``: talk to a model, through a remedy where one is named."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from adhere.rewards.errors import ConfigError
from adhere.train.commands.words import WHOLE, load_named


def chat(
    model: str,
    /,
    *options: str,
    prompt: str | None = None,
    constraints: str | None = None,
    remedy: str | None = None,
    temperature: float = 0.0,
    max_new_tokens: Annotated[int, WHOLE] = 1024,
    seed: Annotated[int, WHOLE] = 0,
    backend: Literal["transformers", "vllm", "openai"] = "transformers",
    base_url: str | None = None,
    device: str = "auto",
    plugins: str | None = None,
) -> int:
    """Answer one prompt, or every line of the standard input until it ends, each as a conversation goes on.

    Args:
        model: A model folder, a hub id, or the name that an endpoint knows.
        options: remedy.OPTION=VALUE: options of the remedy.
        prompt: The only message; without it, each line that is read is one.
        constraints: What a remedy takes for the constraints of a message; the message itself where left out.
        remedy: Name of a remedy (docs/remedies.md).
        temperature: Of the draws; 0 is greedy.
        max_new_tokens: Length limit of a response in tokens.
        seed: Of the draws.
        backend: What generates.
        base_url: Endpoint of the openai back end.
        device: auto, cpu, cuda or cuda:N.
        plugins: [my_lab.remedies]: modules to import first.
    """
    import yaml

    from adhere.evaluation.backends import load_generator
    from adhere.evaluation.generation import Sampling
    from adhere.evaluation.remedies import Remedied, parse_remedy
    from adhere.prompts.item import Message, PromptItem
    from adhere.train.model.quiet import quiet_libraries

    quiet_libraries()
    load_named(plugins)
    given = {"name": remedy or "none"}
    for word in options:
        key, equals, value = word.partition("=")
        if not equals or not key.startswith("remedy."):
            raise ConfigError(f"'{word}' is one word too many; options of a remedy are remedy.OPTION=VALUE")
        given[key.removeprefix("remedy.")] = yaml.safe_load(value)
    try:
        chosen = parse_remedy(given)
    except ConfigError as error:
        raise ConfigError(f"remedy: {error}") from error
    if backend == "openai" and chosen.continues:
        raise ConfigError(
            f"remedy: {chosen.name} goes on with responses that are begun, which an endpoint's chat cannot"
        )
    sampling = Sampling(temperature, 1.0, max_new_tokens, 1, seed)

    loaded = Remedied(
        load_generator(backend, model, base_url=base_url, device=device),
        chosen,
        lambda path: load_generator(backend, path, base_url=base_url, device=device),
    )
    talk: list[Message] = []
    for turn, line in enumerate([prompt] if prompt is not None else sys.stdin):
        if not (text := line.strip()):
            continue
        talk.append(Message(role="user", content=text))
        item = PromptItem(f"turn{turn}", tuple(talk), None, meta={"constraints": constraints or text})
        ((response,),) = loaded.generate([item], sampling)
        if response.error:
            raise ConfigError(f"{model}: did not answer: {response.error}")
        print(response.text, flush=True)
        print(f"[{response.spent} tokens, {response.seconds:.1f} s]", file=sys.stderr, flush=True)
        talk.append(Message(role="assistant", content=response.text.rpartition("</think>")[2].strip()))
    return 0
