"""JouleBench: what a language model's quality costs in energy, and how sure one can be.

The data flows one way, and every box is a folder or a file of this package:

    conf/ -> config -> models, data -> objectives -> runner -> metrics -> record -> results/<study>/<run_id>/
                                                       ^
                                                     energy: the meter's windows around every measured stretch

    results/, other tools -> report/collect -> stats -> report/tables, report/figures, report/page, report/exports

* `config`: Hydra composes conf/, and the result is validated once into frozen dataclasses.
* `models`, `data`: what an option names, loaded behind two small interfaces, `LoadedModel` and `TextSource`.
* `objectives`: what a model learns and is scored by: the next token, masked tokens, translations.
* `applications`: what language models serve: questions to a model, and grades of its answers.
* `backends`: engines that run a model behind one interface: PyTorch eager and compiled, ONNX Runtime, llama.cpp.
* `runner`: one run is `runner/run.py`; `score.py` and `train.py` are its tasks, on a Lightning Trainer; `generate.py`
  and `lm_eval_task.py` answer prompts.
* `energy`: sources of energy figures behind one protocol, and the meter that puts windows around work.
* `metrics`, `stats`: pure functions; `metrics/registry.py` names every column.
* `record`: what a run leaves on disk.
* `sweep`: many runs: which are done, each in a process of its own, on other machines, compared and merged.
* `report`: tables, figures and a page from what is on disk; `kinds` of figures, results of other tools (`external`),
  `exports`; `findings.py` and `warnings.py` say in sentences what the data do. It never imports torch.
* `commands`: `joulebench run`, `sweep`, `plan`, `report`, `verify`, `compare`, `merge`, `doctor`, `export`, `project`.

Running never plots, and reporting never runs.
"""

__version__ = "0.1.0"
