"""Translation models of the Hugging Face format against the library's own loss, search and a count of its operations."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BartConfig,
    MarianConfig,
    PreTrainedTokenizerFast,
    T5Config,
)

from harness.config.compose import compose_cell
from harness.config.model import DecodingConfig
from harness.errors import UserError
from harness.models.huggingface import read_model, translation_model
from harness.runner.run import execute

WORDS = ["one", "two", "three", "four", "red", "blue", "ox", "hen"]
SPECIALS = ["<pad>", "<s>", "</s>", "<unk>"]
PAD, START, END = 0, 1, 2
IDS = {"pad_token_id": PAD, "bos_token_id": START, "eos_token_id": END}
TWO_STACKS = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 32, "dropout": 0.0,
}  # fmt: skip
CONFIGS = {
    "bart": BartConfig(vocab_size=12, **TWO_STACKS, **IDS, decoder_start_token_id=END, forced_eos_token_id=None),
    "marian": MarianConfig(vocab_size=12, **TWO_STACKS, **IDS, decoder_start_token_id=PAD, forced_eos_token_id=None),
    "t5": T5Config(vocab_size=12, d_model=16, d_kv=6, d_ff=24, num_layers=2, num_heads=2,
                   dropout_rate=0.0, n_positions=32, **IDS, decoder_start_token_id=PAD),
}  # fmt: skip


def save(folder, family):
    """A model with random weights and a tokenizer of words, as save_pretrained writes them."""
    vocabulary = {word: number for number, word in enumerate([*SPECIALS, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    single = "<s> $A </s>" if family == "bart" else "$A </s>"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[("<s>", START), ("</s>", END)]
    )
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    torch.manual_seed(0)
    model = AutoModelForSeq2SeqLM.from_config(CONFIGS[family])
    for parameter in model.parameters():
        parameter.data.mul_(4)  # far from uniform, so that a search has something to find
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=CONFIGS)
def folder(request, tmp_path_factory):
    return save(tmp_path_factory.mktemp(request.param), request.param)


def decoding(beam_size=1):
    return DecodingConfig(beam_size=beam_size, length_penalty=1.0, extra_tokens=6)


def opened(folder, beam_size=1):
    model, tokenizer = read_model(AutoModelForSeq2SeqLM, str(folder), torch.float32, remote_code=False)
    return translation_model(model, tokenizer, "", decoding(beam_size))


def cell(tiny, tmp_path, folder, *more):
    lines = [f"{a} {b} {c}" for a in WORDS[:4] for b in WORDS[4:6] for c in WORDS[6:]]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    (tmp_path / "b.txt").write_text("\n".join(" ".join(reversed(line.split())) for line in lines))
    kept = [o for o in tiny if not o.startswith(("model", "data", "tokenizer"))]
    files = [f"data.source={tmp_path}/a.txt", f"data.target={tmp_path}/b.txt", "data.split.test=0.3"]
    return [*kept, "model=local", f"model.path={folder}", "model.learns=translation", "data=pair-files", *files, *more]


def run(overrides):
    return execute(compose_cell(overrides), "test", lambda *_: None)


def test_the_perplexity_of_references_is_the_librarys_own_loss(tiny, tmp_path, folder):
    record = run(cell(tiny, tmp_path, folder))
    assert record.status == "ok", record.reason
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    from harness.data.parallel import pair_files

    pairs = pair_files(compose_cell(cell(tiny, tmp_path, folder)).config.data).splits["test"]
    nats, tokens = 0.0, 0
    for source, target in pairs:
        labels = tokenizer(text_target=target, return_tensors="pt")["input_ids"]
        wanted = labels.clone()
        wanted[labels == START] = -100  # given to the decoder, not asked of it
        given = torch.cat([torch.tensor([[model.config.decoder_start_token_id]]), labels[:, :-1]], dim=1)
        inputs = tokenizer(source, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            loss = model(input_ids=inputs, decoder_input_ids=given, labels=wanted).loss.item()
        count = int((wanted != -100).sum())
        nats, tokens = nats + loss * count, tokens + count
    assert record.quality["scored_tokens"] == tokens
    assert record.quality["perplexity"] == pytest.approx(float(torch.exp(torch.tensor(nats / tokens))), rel=1e-4)


@pytest.mark.parametrize("beam", [1, 3])
def test_translations_in_batches_are_those_of_generate_one_by_one(folder, beam):
    loaded = opened(folder, beam)
    marks, sentences = loaded.network.marks, [[4, 8, 10], [5], [6, 9, 11, 4, 5]]
    rows = [[*marks.source_start, *sentence, END] for sentence in sentences]
    padded = torch.tensor([row + [PAD] * (8 - len(row)) for row in rows])
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    expected = []
    for row in rows:
        found = model.generate(torch.tensor([row]), num_beams=beam, do_sample=False, max_new_tokens=14)[0].tolist()[1:]
        found = found[: found.index(END)] if END in found else found
        expected.append([token for token in found if token not in (PAD, *marks.target_start[1:])])
    assert loaded.network.translate(padded) == expected


def test_flops_are_those_that_pytorch_counts(folder):
    """PyTorch counts products alone: the parameters of biases and norms, which the formula has too, are taken away."""
    loaded = opened(folder)
    network, shape = loaded.network, loaded.shape
    network.model.set_attn_implementation("eager")
    source, target = torch.randint(4, 12, (3, 7)), torch.randint(4, 12, (3, 5))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(source, target)
    vectors = {name: p.numel() for name, p in network.model.named_parameters() if p.dim() < 2}
    read = ("encoder_attn.k_proj", "encoder_attn.v_proj")
    of_source = sum(
        n for name, n in vectors.items() if "encoder." in name.split("layers")[0] + "." or any(r in name for r in read)
    )
    of_target = sum(vectors.values()) - of_source
    expected = shape.forward_flops(3, (7, 5)) - 2 * 3 * (7 * of_source + 5 * of_target)
    assert counter.get_total_flops() == expected


def test_a_model_is_fine_tuned(tiny, tmp_path, folder):
    before = run(cell(tiny, tmp_path, folder))
    steps = ["task=train", "task.steps=60", "task.optimizer.learning_rate=0.01", "task.optimizer.warmup_steps=2"]
    after = run(cell(tiny, tmp_path, folder, *steps))
    assert after.status == "ok", after.reason
    assert after.quality["perplexity"] < 0.5 * before.quality["perplexity"]


def test_a_prefix_is_put_before_sources_alone(tmp_path):
    model, tokenizer = read_model(AutoModelForSeq2SeqLM, str(save(tmp_path, "t5")), torch.float32, remote_code=False)
    loaded = translation_model(model, tokenizer, "red ", decoding())
    assert loaded.tokenizer_of(0).encode(["one ox"]) == [[8, 4, 10]]
    assert loaded.tokenizer_of(1).encode(["one ox"]) == [[4, 10]]
    assert loaded.tokenizer_of(0).identity != loaded.tokenizer_of(1).identity


def test_a_model_that_does_not_say_how_a_target_starts_is_refused(tmp_path):
    model, tokenizer = read_model(AutoModelForSeq2SeqLM, str(save(tmp_path, "t5")), torch.float32, remote_code=False)
    model.config.decoder_start_token_id = None
    with pytest.raises(UserError, match="decoder_start_token_id=None"):
        translation_model(model, tokenizer, "", decoding())


def test_an_architecture_whose_operations_are_not_counted_is_refused(tmp_path):
    model, tokenizer = read_model(AutoModelForSeq2SeqLM, str(save(tmp_path, "t5")), torch.float32, remote_code=False)
    for block in model.decoder.block:
        block.layer[1].Other = block.layer[1].EncDecAttention
        del block.layer[1].EncDecAttention
    with pytest.raises(UserError, match="not counted yet"):
        translation_model(model, tokenizer, "", decoding())
