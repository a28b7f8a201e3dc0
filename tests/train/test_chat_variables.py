"""``model.chat_template_kwargs``: set in the template itself, so that every part of a run sees the same prompt."""

import shutil
from pathlib import Path

import pytest

from adhere.rewards.errors import ConfigError
from adhere.train.config.compose import compose_recipe, recipes_folder
from adhere.train.config.schema import ModelConfig
from adhere.train.model.chat import prompt_text
from adhere.train.model.load import load_tokenizer, with_variables
from adhere.train.run.graph import stage_settings

THINKING = (
    "{%- for m in messages %}{{ '<|' + m.role + '|>' + m.content + eos_token }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|assistant|>' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think></think>' }}{%- endif %}{%- endif %}"
)
ASKED = [{"role": "user", "content": "2+2?"}]


def config(path: Path, **kwargs) -> ModelConfig:
    template = path / "thinking.jinja"
    template.write_text(THINKING)
    return ModelConfig(path=str(path), chat_template=str(template), chat_template_kwargs=kwargs)


@pytest.fixture
def model(tmp_path) -> Path:
    shutil.copytree(recipes_folder() / "assets/tiny_base", tmp_path / "model")
    return tmp_path / "model"


def test_a_variable_reaches_whoever_uses_the_tokenizer_and_the_saved_one(model, tmp_path):
    off = load_tokenizer(config(model, enable_thinking=False), str(model))
    assert prompt_text(off, ASKED).endswith("<think></think>")
    assert off.apply_chat_template(ASKED, tokenize=False, add_generation_prompt=True).endswith("<think></think>")
    assert not prompt_text(load_tokenizer(config(model), str(model)), ASKED).endswith("</think>")
    off.save_pretrained(tmp_path / "saved")
    again = ModelConfig(path=str(tmp_path / "saved"), chat_template_kwargs={"enable_thinking": False})
    assert load_tokenizer(again, str(tmp_path / "saved")).chat_template == off.chat_template
    other = ModelConfig(path=str(tmp_path / "saved"), chat_template_kwargs={"enable_thinking": True})
    assert not prompt_text(load_tokenizer(other, str(tmp_path / "saved")), ASKED).endswith("</think>")


@pytest.mark.parametrize("value", [True, 3, 0.5, 'a "quoted" \\ text'])
def test_values_arrive_as_they_are(value):
    import jinja2

    rendered = jinja2.Template(with_variables("{{ x }}", {"x": value})).render()
    assert rendered == str(value)


@pytest.mark.parametrize("name", ["enable_thnking", "messages", "not a name"])
def test_a_variable_that_the_template_does_not_look_at_is_refused(model, name):
    with pytest.raises(ConfigError, match=r"model\.chat_template_kwargs"):
        load_tokenizer(config(model, **{name: False}), str(model))


def test_variables_are_part_of_a_stages_settings():
    plain = compose_recipe(["recipe=quickstart"])
    asked = compose_recipe(["recipe=quickstart", "+model.chat_template_kwargs.enable_thinking=false"])
    for kind in ("sft", "grpo", "evaluate"):
        assert "chat_template_kwargs" not in stage_settings(kind, plain)["model"]
        assert stage_settings(kind, asked)["model"]["chat_template_kwargs"] == {"enable_thinking": False}
