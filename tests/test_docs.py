"""The examples of the docs run."""

import re

from harness.config.compose import config_dir

ROOT = config_dir().parent


def test_the_callbacks_example_runs(tmp_path, monkeypatch, capsys):
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "lightning.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "lightning.md", "exec"), names)
    printed = [line for line in capsys.readouterr().out.splitlines() if line.endswith(("modelled", "measured_counter"))]
    assert [line.split()[0] for line in printed] == ["validate", "epoch", "validate", "epoch", "train"]


def test_every_flag_of_the_code_is_explained():
    explained = (ROOT / "docs" / "measurement.md").read_text()
    files = [*(ROOT / "harness" / "energy").glob("*.py"), ROOT / "harness" / "runner" / "summary.py"]
    sources = "".join(path.read_text() for path in files)
    flags = set(
        re.findall(
            r'"((?:counter|trace|window|temperature|clock|foreign|contended|idle)_[a-z_]+|throttled|interrupted)"',
            sources,
        )
    )
    flags -= {"temperature_c", "clock_mhz"}
    assert len(flags) >= 12
    assert not [flag for flag in flags if f"`{flag}`" not in explained]
