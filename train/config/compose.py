"""Hydra composition, in the driver only: workers read the resolved ``stage.yaml`` and never import Hydra."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel

import adhere
from adhere.records.objects import check_aliases
from adhere.rewards.errors import ConfigError, nearest
from adhere.rewards.plugins import load_plugins
from adhere.train.config.named_stages import StageConfig, sections_of_plugins
from adhere.train.config.schema import Recipe, recipe_schema
from adhere.train.config.validate import validate_recipe

N = TypeVar("N", bound=Hashable)


def recipes_folder() -> Path:
    """Return the folder of the recipes that ship with the package."""
    return Path(adhere.__file__).resolve().parent / "recipes"


OmegaConf.register_new_resolver("adhere_ranks", lambda device, ranks: 1 if device == "cpu" else ranks, replace=True)
OmegaConf.register_new_resolver(
    "adhere_times", lambda *factors: max(1, round(math.prod(map(float, factors)))), replace=True
)
OmegaConf.register_new_resolver("adhere_assets", lambda name: str(recipes_folder() / "assets" / name), replace=True)


def compose_recipe(overrides: Sequence[str]) -> Recipe:
    """Compose the recipe that native Hydra ``overrides`` describe, and check it.

    Raises:
        ConfigError: an override cannot be parsed, names an unknown key or option, or breaks the schema.
    """
    return recipe_of(_compose(overrides))


def compose_variants(
    overrides: Sequence[str], variants: Mapping[N, Sequence[str]], where: Callable[[N], str] = "arms.{}".format
) -> dict[N, Recipe]:
    """Compose a recipe once for each of ``variants``, a name and the overrides that come after ``overrides``.

    Hydra reads its files for every composition, about 90 ms. A variant that chooses no option of a group needs none of
    them: its overrides are applied to what ``overrides`` compose to, which is what Hydra itself does last. Sections
    that no override touches and that interpolate nothing are resolved once, and stages are checked once.

    Raises:
        ConfigError: as :func:`compose_recipe`; the message begins with ``where`` of the name.
    """
    if not variants:
        return {}
    base = _compose(overrides)
    written = OmegaConf.to_container(base, resolve=False)
    assert isinstance(written, dict)
    # What interpolates is resolved for each variant; the rest is plain already.
    live = {section for section, content in written.items() if "${" in str(content)}
    checked: Mapping[str, StageConfig] | None = None
    recipes = {}
    for name, extra in variants.items():
        try:
            parsed = _plain(extra)
            if parsed is None:
                recipes[name] = compose_recipe([*overrides, *extra])
                continue
            touched = {override.key_or_group.partition(".")[0] for override in parsed}
            try:
                try:
                    _apply(parsed, base)
                except (HydraException, OmegaConfBaseException) as error:
                    raise ConfigError(_explain(error, [*overrides, *extra])) from error
                again = [str(section) for section in base if section in live | touched]
                plain: dict[str, Any] = {
                    str(section): content for section, content in written.items() if section in base
                }
                for section in again:
                    missing = OmegaConf.is_missing(base, section)
                    value = "???" if missing else base[section]
                    plain[section] = (
                        OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
                    )
            except OmegaConfBaseException as error:
                raise ConfigError(str(error).splitlines()[0]) from error
            finally:
                with open_dict(base):
                    for section in touched:
                        if section in written:
                            base[section] = written[section]
                        else:
                            base.pop(section, None)
            own_stages = bool({"stages", "evaluation"} & set(again))  # evaluation.suites makes stages too
            if not own_stages and checked is not None:
                plain["stages"] = checked
            recipes[name] = validate_recipe(plain)
            checked = checked if own_stages else recipes[name].stages
        except ConfigError as error:
            raise ConfigError(f"{where(name)}: {error}") from error
    return recipes


def override_recipe(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """Apply ``overrides`` to a recipe that is resolved already, as a stage's ``stage.yaml`` holds it.

    Raises:
        ConfigError: as :func:`compose_recipe`; also where one chooses an option of a group: a resolved recipe has none.
    """
    parsed = _plain(overrides)
    if parsed is None:
        raise ConfigError(
            f"{', '.join(overrides)}: write keys of the recipe; options of groups are chosen before a run"
        )
    config = OmegaConf.create(recipe.model_dump(mode="json"))
    OmegaConf.set_struct(config, True)
    try:
        _apply(parsed, config)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error, overrides, config)) from error
    return recipe_of(config)


def expand_sweep(overrides: Sequence[str]) -> dict[str, list[str]]:
    """Return every combination of the values in ``overrides``, as Hydra's basic sweeper reads ``key=a,b``.

    A combination is named by the values that vary, such as ``checklist.weight=0.5``, or by all where nothing does.

    Raises:
        ConfigError: an override cannot be parsed, or sweeps in a way that has no list of values.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigError(_explain(error, overrides)) from error
    if bad := [o.input_line for o in parsed if o.is_sweep_override() and not o.is_discrete_sweep()]:
        raise ConfigError(f"'{bad[0]}': has no list of values; write key=a,b")
    axes = [
        [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()]
        if o.is_sweep_override() else [str(o.input_line)]
        for o in parsed
    ]  # fmt: skip
    several = any(len(axis) > 1 for axis in axes)
    found = {}
    for point in itertools.product(*axes):
        named = [given for given, axis in zip(point, axes, strict=True) if len(axis) > 1 or not several]
        found[", ".join(given.removeprefix("rewards.").removeprefix("components.") for given in named)] = list(point)
    return found


def _plain(overrides: Sequence[str]) -> list[Override] | None:
    """Return ``overrides`` parsed, or nothing where one of them chooses an option of a group or cannot be parsed."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException:
        return None
    return None if any(o.package is not None or _chooses(o.key_or_group) for o in parsed) else parsed


def _apply(overrides: Sequence[Override], config: DictConfig) -> None:
    """Apply parsed overrides, none of which chooses an option of a group, to a composed ``config`` as Hydra does.

    A list in place of a map, or the reverse, replaces it: so ``stages=[sft]`` shortens a graph.

    Raises:
        ConfigError: a key to add exists already, one to delete does not, or a section would fall back to defaults.
        OmegaConfBaseException: a key is unknown, or a value does not fit.
    """
    _check_resets(overrides)
    for override in overrides:
        if override.is_sweep_override():
            raise ConfigError(f"{override.input_line}: names several values; write one")
        key, value = override.key_or_group, override.value()
        there = OmegaConf.select(config, key, throw_on_missing=False)
        if override.is_delete():
            if there is None:
                raise ConfigError(f"{override.input_line}: there is no key {key} to delete")
            parent, _, last = key.rpartition(".")
            with open_dict(config):
                del (OmegaConf.select(config, parent) if parent else config)[last]
            continue
        if override.is_add() and there is not None and not isinstance(value, dict | list):
            raise ConfigError(f"{override.input_line}: {key} exists already; leave out the + to change it")
        same = OmegaConf.is_dict(there) == isinstance(value, dict)
        OmegaConf.update(config, key, value, merge=same, force_add=override.is_add() or override.is_force_add())


def _compose(overrides: Sequence[str]) -> DictConfig:
    """Compose the recipe, without Hydra's own section; where it names plug-ins, again, once their sections are known.

    ``stages`` is applied last: Hydra cannot merge a list into the map of a recipe.
    """
    stages = [o for o in overrides if o.partition("=")[0] == "stages"]
    others = [o for o in overrides if o not in stages]
    known, failed = sections_of_plugins(), None
    try:
        config = _hydra(others)
    except ConfigError as error:
        # Perhaps a key of a plug-in's section, which is unknown until the module is imported.
        failed = error
        try:
            plugins = _plugins_of(others)
        except ConfigError:
            raise failed from None
        load_plugins(plugins)
    else:
        load_plugins(config.plugins or [])
    if failed is not None and sections_of_plugins() == known:
        raise failed
    if failed is not None or sections_of_plugins() != known:
        config = _hydra(others)
    try:
        _apply(OverridesParser.create().parse_overrides(stages), config)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error, stages)) from error
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def load_plugins_of(overrides: Sequence[str]) -> None:
    """Import the plug-ins of the recipe that ``overrides`` choose, whatever else they set.

    Raises:
        ConfigError: a chosen option does not exist, or a plug-in cannot be imported.
    """
    load_plugins(_plugins_of(overrides))


def _plugins_of(overrides: Sequence[str]) -> Any:
    named = [o for o in overrides if o.lstrip("+").startswith(("plugins=", "hydra.")) or _chooses(o)]
    return _hydra(named).plugins or []


def _chooses(override: str) -> bool:
    """Whether ``override`` chooses an option of a group."""
    return (recipes_folder() / override.lstrip("+~").partition("=")[0].partition("@")[0].replace(".", "/")).is_dir()


def primary_config() -> str:
    """Return the name of the config that everything is composed from: ours, below the sections of plug-ins' kinds."""
    sections = sections_of_plugins()
    if not sections:
        return "config"
    store = ConfigStore.instance()
    for name, config in sections.items():
        store.store(name="default", group=name, package=name, node=config().model_dump(mode="json"), provider="adhere")
    store.store(
        name="config_of_plugins",
        node={"defaults": [*({name: "default"} for name in sections), "config", "_self_"]},
        provider="adhere",
    )
    return "config_of_plugins"


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuse ``overrides`` that Hydra would apply silently with a wrong result, or would expand without end.

    Raises:
        ConfigError: one of them puts the schema's defaults in the place of a recipe's values, or gives a group what is
            not the name of an option.
        DataError: a file that they choose is made of nested aliases.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException:
        return  # Hydra says which one cannot be parsed
    _check_resets(parsed)
    for override in parsed:
        group = override.key_or_group
        if override.is_delete() or override.is_sweep_override() or not (recipes_folder() / group).is_dir():
            continue
        value = override.value()
        if isinstance(value, dict):
            raise ConfigError(
                f"{override.input_line}: {group} takes the name of an option; set keys: {group}.KEY=VALUE"
            )
        if isinstance(value, list) and not all(isinstance(name, str) for name in value):
            options = ", ".join(sorted(path.stem for path in (recipes_folder() / group).glob("*.yaml")))
            raise ConfigError(f"{override.input_line}: {group} takes names of options; there are {options}")
    searched = [value for o in parsed if o.key_or_group == "hydra.searchpath" and isinstance(value := o.value(), list)]
    folders = [recipes_folder(), *(Path(str(path).removeprefix("file://")) for paths in searched for path in paths)]
    # Every file that the defaults lists can lead to; one that Hydra leaves out costs a look.
    waiting = [("", "config"), *((o.key_or_group, o.value()) for o in parsed if not o.is_sweep_override())]
    seen: set[Path] = set()
    while waiting:
        group, chosen = waiting.pop()
        for option in chosen if isinstance(chosen, list) else [chosen]:
            for path in [folder / group / f"{str(option).removesuffix('.yaml')}.yaml" for folder in folders]:
                if path in seen or not isinstance(option, str) or not path.is_file():
                    continue
                seen.add(path)
                text = path.read_text(encoding="utf-8", errors="replace")
                check_aliases(path, text)
                try:
                    content = (
                        yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if "defaults" in text else 0
                    )
                except yaml.YAMLError:
                    continue  # Hydra says what is wrong with it
                entries = content.get("defaults") if isinstance(content, dict) else None
                for entry in entries if isinstance(entries, list) else []:
                    named = entry.items() if isinstance(entry, dict) else [("", entry)]
                    for key, value in named:
                        inner = str(key).split(" ")[-1].partition("@")[0]
                        waiting += [(inner.lstrip("/"), value), (f"{group}/{inner}".strip("/"), value)]


def _check_resets(overrides: Sequence[Override]) -> None:
    """Check that no override would put the schema's defaults in the place of a recipe's values.

    Raises:
        ConfigError: names the key, and what to write.
    """
    for override in overrides:
        key, field = override.key_or_group, None
        model: type[BaseModel] | None = recipe_schema()
        for part in key.split("."):
            field = model.model_fields.get(part) if model is not None else None
            kind = None if field is None else field.annotation
            model = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        if field is None or field.is_required():
            continue
        if override.is_delete() and field.get_default(call_default_factory=True) not in (None, {}, []):
            value = "null" if type(None) in get_args(field.annotation) else "VALUE"
            write = f"set the keys that are to differ: {key}.KEY=VALUE" if model else f"write its value: {key}={value}"
            raise ConfigError(
                f"{override.input_line}: {key} always has a value, and without the recipe's it would be the schema's "
                f"default; {write}"
            )
        if model is not None and not override.is_sweep_override() and override.value() == {}:
            raise ConfigError(
                f"{override.input_line}: an empty section changes nothing; set the keys that are to differ: "
                f"{key}.KEY=VALUE"
            )


def _hydra(overrides: Sequence[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    check_overrides(overrides)
    try:
        with initialize_config_dir(str(recipes_folder()), version_base="1.3", job_name="adhere"):
            config = compose(primary_config(), overrides=list(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(config)
    except yaml.YAMLError as error:
        raise ConfigError(f"a recipe's file is not valid YAML: {error}") from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        # Hydra raises a plain ValueError where a group is given something other than a name.
        raise ConfigError(_explain(error, overrides)) from error
    return config


def recipe_of(config: DictConfig) -> Recipe:
    """Import the plug-ins that a composed ``config`` names, resolve it, and check it against the schema."""
    load_plugins(config.get("plugins") or [])
    try:
        plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    return validate_recipe(plain)


def _explain(error: Exception, overrides: Sequence[str], base: DictConfig | None = None) -> str:
    cause = error.__cause__ if isinstance(error, ConfigCompositionException) and error.__cause__ else error
    text = str(cause)
    if isinstance(error, OverrideParseException):
        recipes = [path.stem for path in (recipes_folder() / "recipe").glob("*.yaml")]
        meant = get_close_matches(str(error.override), recipes, n=1)
        if meant:
            return f"'{error.override}': is neither key=value nor an option (did you mean recipe={meant[0]}?)"
        return (
            f"'{error.override}': cannot be read as an override; write key=value, and quote a value that holds = or "
            f"commas, within [] and {{}} too: key='a=b'"
        )
    if isinstance(error, ValueError):
        given = [o for o in overrides if (recipes_folder() / o.split("=")[0]).is_dir()]
        return f"{', '.join(given)}: {text}; name one of the options in recipes/"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        folder, _, option = str(error.missing_cfg_file).rpartition("/")
        options = sorted(p.stem for p in (recipes_folder() / folder).glob("*.yaml"))
        return f"{folder}={option}: there is no such option{nearest(option, options)}; there are {', '.join(options)}"
    groups = sorted(
        p.name for p in recipes_folder().iterdir() if p.is_dir() and p.name not in ("assets", "__pycache__")
    )
    missing = re.search(r"Key '([^']+)' is not in struct\s+full_key: (\S+)", text)
    if missing:
        # What the key should stand in: in ``base``, or composed without the unknown keys.
        full, node = missing[2], base
        if node is None:
            choices = [o for o in overrides if (recipes_folder() / o.split("=")[0]).is_dir()]
            with initialize_config_dir(str(recipes_folder()), version_base="1.3", job_name="adhere"):
                node = compose(primary_config(), overrides=choices)
        parent = full.rpartition(".")[0]
        for part in parent.split(".") if parent else []:
            if not isinstance(node, DictConfig) or part not in node:
                break
            node = node[part]
        if not isinstance(node, DictConfig):
            value = "null" if node is None else node
            return f"{full}: {parent} is {value} and has no keys; give it whole: '{parent}={{{missing[1]}: ..., ...}}'"
        known = [*(str(key) for key in node), *([] if parent else groups)]
        added = "; +rewards.components.NAME={kind: ...} adds a component" if parent == "rewards.components" else ""
        return f"{full}: there is no such key{nearest(missing[1], known)}{added}"
    listed = re.search(r"Cannot merge DictConfig with ListConfig\s+full_key: (\S+)", text)
    if listed:
        return f"{listed[1]}: is a map, and a list was given; set its keys: {listed[1]}.KEY=VALUE"
    group = re.search(r"Could not override '([^']+)'\.?\s*No match in the defaults list", text + str(error))
    if group:
        return f"{group[1]}: there is no such key or group{nearest(group[1], groups)}; groups are {', '.join(groups)}"
    return "\n".join(line for line in (str(error) or text).splitlines() if line.strip())
