"""Every column of the result tables: where it stands in a record, how it is called, its unit, and what it means.

Column names, axis labels, table headings and the glossary all come from here. `{main}` in a path is the task's main
phase: `train` for training, `score` for scoring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Better = Literal["lower", "higher", ""]
Average = Literal["arithmetic", "geometric", "harmonic"]
# What the columns of a 95 % interval end in.
ENDS = ("_ci_low", "_ci_high")


@dataclass(frozen=True)
class Metric:
    """One column.

    Attributes:
        name: Column name; ends in its unit.
        path: Dotted path into a record.
        label: Axis label and table heading, without the unit.
        meaning: Glossary entry.
        table: Which tables show it, besides runs.csv, which shows all.
        unit: Unit as printed, after multiplication by `scale`.
        scale: From the stored unit to the printed one.
        digits: Significant digits in printed tables.
        better: Direction of improvement, if it has one.
        error: Column with its relative 95 % half-width of random error, where that is not in <name>_ci_low and _high.
        average: How the mean over seeds is taken.
    """

    name: str
    path: str
    label: str
    meaning: str
    table: tuple[Literal["quality", "energy"], ...] = ()
    unit: str = ""
    scale: float = 1.0
    digits: int = 4
    better: Better = ""
    error: str = ""
    average: Average = "arithmetic"

    @property
    def axis(self) -> str:
        """Label with its unit, for an axis or a heading."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def phrase(self) -> str:
        """Label inside a sentence; acronyms keep their capitals."""
        return self.label if self.label[1:2].isupper() else self.label[:1].lower() + self.label[1:]


BY_WHAT = "How the interval over repeats was found; Student's t where it is empty."


def _of_component(component: str, name: str) -> tuple[Metric, ...]:
    """Columns of one component alone, as if it were the only one that was read."""
    path = f"summary.phases.{{main}}.components.{component}"
    alone = f"As joules_per_token, of {name} alone: its figure may be measured where the total is not."
    cost: dict[str, Any] = {"unit": "mJ/token", "scale": 1e3}
    error = f"{component}_joules_per_token_relative_half_width"
    return (
        Metric(f"{component}_joules_per_token", f"{path}.joules_per_token", f"{name} energy per token", alone, better="lower", error=error, **cost),
        *(
            Metric(f"{component}_joules_per_token_{end}", f"{path}.joules_per_token_{end}", f"{name} energy per token, {label}", f"As joules_per_token_{end}, of {name} alone.", **cost)
            for end, label in (("ci_low", "low"), ("ci_high", "high"), ("low", "systematic low"), ("high", "systematic high"))
        ),
        Metric(error, f"{path}.joules_per_token_relative_half_width", f"Random error of {name} energy", f"95 % half-width over the mean, of {name} alone.", unit="%", scale=100, digits=2),
        Metric(f"{error}_by", f"{path}.joules_per_token_interval", f"Random error of {name} energy by", BY_WHAT),
        Metric(f"{component}_net_joules_per_token", f"{path}.net_joules_per_token", f"Net {name} energy per token", "Above its own idle baseline.", better="lower", **cost),
        Metric(f"{component}_energy_method", f"{path}.energy_method", f"{name} energy is", "How it was obtained."),
        Metric(f"{component}_mean_power_w", f"{path}.mean_power_w", f"{name} power", "Energy over time.", unit="W"),
        Metric(f"{component}_idle_power_w", f"summary.idle.components.{component}.power_w", f"{name} idle power", "Of the loaded machine, before and after the work.", unit="W"),
    )  # fmt: skip


BOTH: tuple[Literal["quality", "energy"], ...] = ("quality", "energy")
_QUALITY: tuple[Literal["quality", "energy"], ...] = ("quality",)
_ENERGY: tuple[Literal["quality", "energy"], ...] = ("energy",)

METRICS = (
    Metric("study", "study", "Study", "Named grid of cells, run for one question."),
    Metric("origin", "", "Origin", "What measured the row: joulebench, or the tool and the file that it was imported from."),
    Metric("run_id", "run_id", "Run", "Folder of the run; ends in the cell's fingerprint."),
    Metric("status", "status", "Status", "ok, oom, failed, timeout, unsupported or invalid."),
    Metric("task", "cell.task", "Task", "What was done with the model.", BOTH),
    Metric("model", "cell.model", "Model", "Model, by option, hub id or folder.", BOTH),
    Metric("num_parameters", "model.num_parameters", "Parameters", "All parameters, shared ones once.", BOTH, "M", 1e-6),
    Metric(
        "num_parameters_non_embedding",
        "model.num_parameters_non_embedding",
        "Parameters without embeddings",
        "Parameters without token and position embeddings.",
        unit="M",
        scale=1e-6,
    ),
    Metric("data", "cell.data", "Data", "Text that the model was trained on or scored with."),
    Metric("batch_size", "cell.batch_size", "Batch size", "Sequences processed together.", BOTH, "sequences"),
    Metric("compression", "cell.compression", "Compression", "What was taken out of the model before it was used.", BOTH),
    Metric("backend", "cell.backend", "Backend", "Engine that ran the model; eager is PyTorch, operation by operation.", BOTH),
    Metric("precision", "cell.precision", "Precision", "Number format of weights and arithmetic.", BOTH),
    Metric("hardware", "cell.hardware", "Hardware", "Hardware option."),
    Metric("device_name", "cell.device_name", "Device", "Name of the processor or board that ran the cell."),
    Metric("protocol", "cell.protocol", "Protocol", "Rules of measuring: warm-up, window length, repeats."),
    Metric("seed", "cell.seed", "Seed", "Seed of weights, data order and bootstrap."),
    Metric("seeds", "", "Seeds", "How many seeds the row is a mean over; empty in a row of one run."),
    Metric(
        "repeats",
        "summary.phases.{main}.repeats",
        "Repeats",
        "Measured windows of the main phase that the means are taken over.",
        _ENERGY,
        digits=3,
    ),
    Metric("repeats_excluded", "summary.phases.{main}.repeats_excluded", "Repeats excluded", "Windows left out of means."),
    Metric("flags", "summary.phases.{main}.flags", "Flags", "Reason codes of doubts about the main phase's windows."),
    Metric("stop_reason", "summary.phases.{main}.stop_reason", "Stopped by", "Why no further repeat was made."),
    Metric(
        "cross_entropy_nats",
        "quality.cross_entropy_nats",
        "Cross entropy",
        "Mean negative log-likelihood of a token.",
        unit="nats/token",
        better="lower",
    ),
    Metric(
        "perplexity",
        "quality.perplexity",
        "Perplexity per token",
        "exp of the cross entropy; compares only runs with one tokenizer and one token protocol.",
        _QUALITY,
        better="lower",
        average="geometric",
    ),
    Metric("perplexity_ci_low", "quality.perplexity_ci_low", "Perplexity, low", "95 % bootstrap over documents (or the windows of a single one).", _QUALITY),
    Metric("perplexity_ci_high", "quality.perplexity_ci_high", "Perplexity, high", "95 % bootstrap over documents (or the windows of a single one).", _QUALITY),
    Metric("cross_entropy_difference", "", "Loss over fp32's", "Nats a token more than the same model in fp32 and uncompressed, document by document of the same text; its exp is the ratio of perplexities.", _QUALITY, "nats/token", digits=3, better="lower"),
    Metric("cross_entropy_difference_ci_low", "", "Loss, low", "95 % bootstrap over documents, paired.", _QUALITY, digits=3),
    Metric("cross_entropy_difference_ci_high", "", "Loss, high", "95 % bootstrap over documents, paired.", _QUALITY, digits=3),
    Metric("p_best_likelihood", "", "p of being the best", "Paired test over documents against the run with the lowest loss on the same text, corrected for their number (Holm); 1 for the best itself.", digits=2),
    Metric(
        "word_perplexity",
        "quality.word_perplexity",
        "Perplexity per word",
        "exp of the nats over the text's words, which compares tokenizers (lm-eval's definition).",
        _QUALITY,
        better="lower",
        average="geometric",
    ),
    Metric(
        "byte_perplexity",
        "quality.byte_perplexity",
        "Perplexity per byte",
        "exp of the nats over the text's UTF-8 bytes, which compares tokenizers (lm-eval's definition).",
        better="lower",
        average="geometric",
    ),
    Metric(
        "bits_per_byte",
        "quality.bits_per_byte",
        "Bits per byte",
        "log2 of the byte perplexity; compares tokenizers.",
        BOTH,
        better="lower",
    ),
    Metric("word_perplexity_ci_low", "quality.word_perplexity_ci_low", "Perplexity per word, low", "95 % bootstrap over documents; empty for a text of one."),
    Metric("word_perplexity_ci_high", "quality.word_perplexity_ci_high", "Perplexity per word, high", "95 % bootstrap over documents; empty for a text of one."),
    Metric("byte_perplexity_ci_low", "quality.byte_perplexity_ci_low", "Perplexity per byte, low", "95 % bootstrap over documents; empty for a text of one."),
    Metric("byte_perplexity_ci_high", "quality.byte_perplexity_ci_high", "Perplexity per byte, high", "95 % bootstrap over documents; empty for a text of one."),
    Metric("bits_per_byte_ci_low", "quality.bits_per_byte_ci_low", "Bits per byte, low", "95 % bootstrap over documents; empty for a text of one."),
    Metric("bits_per_byte_ci_high", "quality.bits_per_byte_ci_high", "Bits per byte, high", "95 % bootstrap over documents; empty for a text of one."),
    Metric(
        "pseudo_perplexity",
        "quality.pseudo_perplexity",
        "Pseudo-perplexity",
        "Of a masked language model: exp of the mean negative log-likelihood of each token, masked alone.",
        _QUALITY,
        better="lower",
        average="geometric",
    ),
    Metric("pseudo_perplexity_ci_low", "quality.pseudo_perplexity_ci_low", "Pseudo-perplexity, low", "95 % bootstrap over windows.", _QUALITY),
    Metric("pseudo_perplexity_ci_high", "quality.pseudo_perplexity_ci_high", "Pseudo-perplexity, high", "95 % bootstrap over windows.", _QUALITY),
    Metric("bleu", "quality.bleu", "BLEU", "sacreBLEU's score of translations.", _QUALITY, better="higher"),
    Metric("bleu_ci_low", "quality.bleu_ci_low", "BLEU, low", "95 % bootstrap over pairs.", _QUALITY),
    Metric("bleu_ci_high", "quality.bleu_ci_high", "BLEU, high", "95 % bootstrap over pairs.", _QUALITY),
    Metric("bleu_signature", "quality.bleu_signature", "BLEU's signature", "How sacreBLEU computed it."),
    Metric("chrf", "quality.chrf", "chrF", "sacreBLEU's character F-score of translations.", _QUALITY, better="higher"),
    Metric("chrf_ci_low", "quality.chrf_ci_low", "chrF, low", "95 % bootstrap over pairs.", _QUALITY),
    Metric("chrf_ci_high", "quality.chrf_ci_high", "chrF, high", "95 % bootstrap over pairs.", _QUALITY),
    Metric("chrf_signature", "quality.chrf_signature", "chrF's signature", "How sacreBLEU computed it."),
    Metric("translated_pairs", "quality.translated_pairs", "Translated pairs", "Sentences that were translated."),
    Metric("decoding", "quality.protocol.decoding", "Decoding", "How translations were searched for."),
    Metric("scored_tokens", "quality.scored_tokens", "Scored tokens", "Tokens of the held-out text, each scored once."),
    Metric("text_bytes", "quality.text_bytes", "Scored text", "UTF-8 bytes of the held-out text.", _QUALITY, "kB", 1e-3),
    Metric("tokenizer", "quality.protocol.tokenizer", "Tokenizer", "What the tokens are.", _QUALITY),
    Metric("score_context", "quality.protocol.context", "Context", "Tokens of a scoring window.", _QUALITY, "tokens"),
    Metric("score_stride", "quality.protocol.stride", "Stride", "Tokens by which scoring windows advance.", unit="tokens"),
    Metric("score_documents", "quality.protocol.documents", "Documents", "How documents are put into scoring windows."),
    Metric(
        "tokens_per_second",
        "summary.phases.{main}.tokens_per_second",
        "Throughput",
        "Tokens of the main phase over its measured seconds, all devices.",
        _ENERGY,
        "tokens/s",
        better="higher",
        average="harmonic",
    ),
    Metric(
        "joules_per_token",
        "summary.phases.{main}.joules_per_token",
        "Energy per token",
        "Energy of the main phase's measured repeats over their tokens; the components are in energy_components.",
        _ENERGY,
        "mJ/token",
        1e3,
        better="lower",
        error="joules_per_token_relative_half_width",
    ),
    Metric(
        "joules_per_token_ci_low",
        "summary.phases.{main}.joules_per_token_ci_low",
        "Energy per token, low",
        "Lower bound: 95 % random error and what is systematic (counter, or the model's two curves and TDP).",
        _ENERGY,
        "mJ/token",
        1e3,
    ),
    Metric(
        "joules_per_token_ci_high",
        "summary.phases.{main}.joules_per_token_ci_high",
        "Energy per token, high",
        "Upper bound, as the lower one.",
        _ENERGY,
        "mJ/token",
        1e3,
    ),
    Metric("joules_per_token_low", "summary.phases.{main}.joules_per_token_low", "Energy per token, systematic low", "Lower bound of what is systematic.", unit="mJ/token", scale=1e3),
    Metric("joules_per_token_high", "summary.phases.{main}.joules_per_token_high", "Energy per token, systematic high", "Upper bound of what is systematic.", unit="mJ/token", scale=1e3),
    Metric(
        "joules_per_token_relative_half_width",
        "summary.phases.{main}.joules_per_token_relative_half_width",
        "Random error",
        "95 % half-width over the mean, of repeats and counter updates: what counts between cells of one machine.",
        _ENERGY,
        "%",
        100,
        digits=2,
    ),
    Metric("joules_per_token_relative_half_width_by", "summary.phases.{main}.joules_per_token_interval", "Random error by", BY_WHAT),
    Metric(
        "energy_ratio",
        "",
        "Energy ratio of the main phase",
        "Energy per token over that of the cheapest comparable run; what is systematic cancels.",
        _ENERGY,
        digits=3,
        better="lower",
        error="joules_per_token_relative_half_width",
    ),
    Metric("energy_ratio_ci_low", "", "Ratio, low", "95 % of random error, of both runs; of modelled energy, from the lower of its two curves.", _ENERGY, digits=3),
    Metric("energy_ratio_ci_high", "", "Ratio, high", "95 % of random error, of both runs; of modelled energy, from the upper of its two curves.", _ENERGY, digits=3),
    Metric("joules_per_token_unflagged", "summary.phases.{main}.joules_per_token_unflagged", "Energy per token, unflagged", "As joules_per_token, over the repeats without any flag.", unit="mJ/token", scale=1e3),
    Metric("repeats_unflagged", "summary.phases.{main}.repeats_unflagged", "Repeats unflagged", "Repeats without any flag."),
    Metric("net_joules_per_token", "summary.phases.{main}.net_joules_per_token", "Net energy per token", "Above the idle baseline; empty without one, and where it is modelled.", _ENERGY, "mJ/token", 1e3, better="lower"),
    Metric("idle_power_w", "summary.idle.power_w", "Idle power", "Of the loaded machine, before and after the work.", _ENERGY, "W"),
    Metric("energy_method", "summary.phases.{main}.energy_method", "Energy is", "How energy was obtained; the worst of its parts.", _ENERGY),
    Metric("energy_components", "summary.phases.{main}.energy_components", "Components", "What the energy is the sum of.", _ENERGY),
    Metric("gpu_energy_j", "summary.phases.{main}.gpu_energy_j", "GPU energy", "Over the measured repeats.", unit="J"),
    Metric("cpu_energy_j", "summary.phases.{main}.cpu_energy_j", "CPU energy", "Over the measured repeats.", unit="J"),
    Metric("soc_energy_j", "summary.phases.{main}.soc_energy_j", "SoC energy", "Over the measured repeats.", unit="J"),
    Metric("node_energy_j", "summary.phases.{main}.node_energy_j", "Node energy", "By the wall meter, over the measured repeats.", unit="J"),
    Metric("dram_energy_j", "summary.phases.{main}.dram_energy_j", "DRAM energy", "Over the measured repeats.", unit="J"),
    *_of_component("gpu", "GPU"),
    Metric("gpu_trace_difference", "summary.phases.{main}.gpu_trace_difference", "GPU power over counter", "Integral of sampled power over the counters' energy, less 1: a check of one by the other.", unit="%", scale=100, digits=2),
    Metric("gpu_update_period_s", "summary.update_periods_s.gpu", "GPU counter's period", "From one update of the counter to the next, measured.", unit="ms", scale=1e3, digits=3),
    *_of_component("cpu", "CPU"),
    *_of_component("dram", "DRAM"),
    Metric("mean_power_w", "summary.phases.{main}.mean_power_w", "Mean power", "Energy over time.", _ENERGY, "W"),
    Metric(
        "train_energy_j",
        "summary.training.total_energy_j",
        "Training energy",
        "All optimiser steps, those of the warm-up included.",
        _ENERGY,
        "J",
        better="lower",
    ),
    Metric("train_energy_low_j", "summary.training.total_energy_low_j", "Training energy, low", "Lower end of its interval.", unit="J"),
    Metric("train_energy_high_j", "summary.training.total_energy_high_j", "Training energy, high", "Upper end of its interval.", unit="J"),
    Metric("train_s", "summary.training.duration_s", "Training time", "Seconds of all optimiser steps, warm-up included, validation excluded.", _ENERGY, "s"),
    Metric("train_steps", "summary.training.steps", "Steps", "Optimiser steps taken.", unit="steps"),
    Metric("train_tokens", "summary.training.tokens", "Training tokens", "Tokens trained on; of translations, the target's.", unit="M", scale=1e-6),
    Metric("final_loss", "summary.training.final_loss", "Last training loss", "Of the last micro-batch.", unit="nats/token", better="lower"),
    Metric("target_met", "summary.training.target_met", "Target met", "Whether a validation met task.stop.quality; empty without a target."),
    Metric("energy_to_target_j", "summary.training.energy_to_target_j", "Energy to target", "Training energy until the first validation that met the target.", _ENERGY, "J", better="lower"),
    Metric("time_to_target_s", "summary.training.time_to_target_s", "Time to target", "Seconds of training until then.", _ENERGY, "s", better="lower"),
    Metric("tokens_to_target", "summary.training.tokens_to_target", "Tokens to target", "Tokens trained on until then.", unit="M", scale=1e-6, better="lower"),
    Metric("steps_to_target", "summary.training.steps_to_target", "Steps to target", "Optimiser steps until then.", unit="steps", better="lower"),
    Metric("validation_energy_j", "summary.all_windows.validate.total_energy_j", "Validation energy", "Of all validations; no part of the training energy.", unit="J"),
    Metric("compile_energy_j", "summary.all_windows.compile.total_energy_j", "Compilation energy", "Of torch.compile before training; no part of the training energy.", unit="J"),
    Metric("compile_s", "summary.all_windows.compile.duration_s", "Compilation time", "Seconds of torch.compile before training.", unit="s"),
    Metric("compress_energy_j", "summary.all_windows.compress.total_energy_j", "Compression energy", "Of quantising or pruning before the work; no part of the work's energy.", unit="J"),
    Metric("interruptions", "summary.training.interruptions", "Interruptions", "How often the training went on from a checkpoint."),
    Metric("lost_energy_j", "summary.training.lost_energy_j", "Energy lost", "Of steps that were done again after interruptions; empty where unknown.", unit="J"),
    Metric("data_wait_share", "summary.training.data_wait_share", "Waiting for data", "Share of training time in which batches were made.", unit="%", scale=100),
    Metric("joules_per_step", "summary.phases.{main}.joules_per_step", "Energy per step", "Energy of the main phase over its iterations: optimiser steps, or batches.", unit="J"),
    Metric("joules_per_sample", "summary.phases.{main}.joules_per_sample", "Energy per sample", "Energy of the main phase over its sequences.", unit="J"),
    Metric("translate_joules_per_token", "summary.phases.translate.joules_per_token", "Energy per translated token", "Energy of translating over output tokens.", _ENERGY, "mJ/token", 1e3, better="lower"),
    Metric("translate_joules_per_sample", "summary.phases.translate.joules_per_sample", "Energy per translation", "Energy of translating over sentences.", unit="J", better="lower"),
    Metric("translate_tokens_per_second", "summary.phases.translate.tokens_per_second", "Translation throughput", "Output tokens over seconds.", unit="tokens/s", better="higher", average="harmonic"),
    Metric("token_budget", "config.task.stop.tokens", "Token budget", "Tokens after which training ends; empty without one.", unit="M tokens", scale=1e-6),
    Metric("distillation_weight", "model.distillation_weight", "Teacher's weight", "Share of the training loss that is the divergence from the teacher; 0 without one.", unit="from the teacher"),
    Metric("teacher", "model.teacher", "Teacher", "Run whose model was the teacher."),
    Metric("teacher_energy_j", "model.teacher_energy_j", "Teacher's training energy", "That of the run that trained the teacher; no part of this training's.", unit="J"),
    Metric("accuracy", "quality.accuracy", "Accuracy", "Share of questions that are answered right; of several lm-eval tasks their mean.", _QUALITY, better="higher"),
    Metric("accuracy_ci_low", "quality.accuracy_ci_low", "Accuracy, low", "95 % interval over questions.", _QUALITY),
    Metric("accuracy_ci_high", "quality.accuracy_ci_high", "Accuracy, high", "95 % interval over questions.", _QUALITY),
    Metric("exact_match", "quality.exact_match", "Exact match", "Share of free answers that are a reference, up to case, articles and punctuation.", _QUALITY, better="higher"),
    Metric("answer_f1", "quality.answer_f1", "F1 of answers", "Words that an answer shares with a reference.", _QUALITY, better="higher"),
    Metric("rouge1", "quality.rouge1", "ROUGE-1", "F1 of shared words of summaries.", _QUALITY, better="higher"),
    Metric("rouge2", "quality.rouge2", "ROUGE-2", "F1 of shared pairs of words of summaries.", _QUALITY, better="higher"),
    Metric("rouge_l", "quality.rouge_l", "ROUGE-L", "F1 of the longest common subsequence of summaries.", _QUALITY, better="higher"),
    Metric("distinct_1", "quality.distinct_1", "Distinct-1", "Different words over all words of the replies.", _QUALITY, better="higher"),
    Metric("distinct_2", "quality.distinct_2", "Distinct-2", "Different pairs of words over all of the replies.", _QUALITY, better="higher"),
    Metric("words_per_reply", "quality.words_per_reply", "Words a reply", "Mean length of the replies."),
    Metric("pass_at_k_ci_low", "quality.pass_at_k_ci_low", "pass@k, low", "95 % interval over problems.", _QUALITY),
    Metric("pass_at_k_ci_high", "quality.pass_at_k_ci_high", "pass@k, high", "95 % interval over problems.", _QUALITY),
    Metric("pass_at_k", "quality.pass_at_k", "pass@k", "Chance that one of k programs passes its problem's tests.", _QUALITY, better="higher"),
    Metric("questions", "summary.answers.requests", "Requests answered", "Requests that the task made of the model."),
    Metric("joules_per_answer", "summary.answers.joules_per_answer", "Energy per answer", "Of everything that answering took, over questions; empty for lm-eval's tasks, which count requests.", _ENERGY, "J", better="lower"),
    Metric("joules_per_correct_answer", "summary.answers.joules_per_correct_answer", "Energy per correct answer", "Of everything that answering took, over right answers.", _ENERGY, "J", better="lower"),
    Metric("prompt_tokens_mean", "summary.generation.prompt_tokens_mean", "Prompt", "Mean tokens of a prompt.", unit="tokens"),
    Metric("output_tokens", "summary.generation.output_tokens", "Output", "Tokens that each request adds.", unit="tokens"),
    Metric("prefill_joules_per_token", "summary.phases.prefill.joules_per_token", "Prefill energy per prompt token", "Energy of reading prompts over their tokens.", _ENERGY, "mJ/token", 1e3, better="lower", error="prefill_relative_half_width"),
    Metric("prefill_relative_half_width", "summary.phases.prefill.joules_per_token_relative_half_width", "Random error of prefill", "95 % half-width over the mean of the prefill energy.", unit="%", scale=100),
    Metric("prefill_relative_half_width_by", "summary.phases.prefill.joules_per_token_interval", "Random error of prefill by", BY_WHAT),
    Metric("prefill_tokens_per_second", "summary.phases.prefill.tokens_per_second", "Prefill throughput", "Prompt tokens over seconds.", unit="tokens/s", better="higher", average="harmonic"),
    Metric("prefill_mfu", "summary.phases.prefill.mfu", "Prefill MFU", "As mfu, of reading prompts.", better="higher", average="harmonic"),
    Metric("decode_joules_per_token", "summary.phases.decode.joules_per_token", "Decode energy per output token", "Energy of windows that hold only decoding steps, over the tokens that these add.", _ENERGY, "mJ/token", 1e3, better="lower", error="joules_per_token_relative_half_width"),
    Metric("decode_tokens_per_second", "summary.phases.decode.tokens_per_second", "Decode throughput", "Output tokens over seconds of decoding, all requests of a batch.", unit="tokens/s", better="higher", average="harmonic"),
    Metric("joules_per_request", "summary.phases.request.joules_per_sample", "Energy per request", "Prompt to last token, over the requests answered.", _ENERGY, "J", better="lower", error="request_relative_half_width"),
    Metric("joules_per_output_token", "summary.phases.request.joules_per_token", "Energy per output token", "Of whole requests, their prompts included, over output tokens.", _ENERGY, "mJ/token", 1e3, better="lower", error="request_relative_half_width"),
    Metric("request_relative_half_width", "summary.phases.request.joules_per_token_relative_half_width", "Random error of requests", "95 % half-width over the mean of the energy of whole requests.", unit="%", scale=100),
    Metric("request_relative_half_width_by", "summary.phases.request.joules_per_token_interval", "Random error of requests by", BY_WHAT),
    Metric("requests_per_second", "summary.generation.requests_per_second", "Request throughput", "Requests answered over seconds.", unit="requests/s", better="higher", average="harmonic"),
    Metric("joules_per_total_token", "summary.generation.joules_per_total_token", "Energy per token read or added", "Of whole requests, over prompt and output tokens.", unit="mJ/token", scale=1e3, better="lower"),
    Metric("weight_bytes", "model.weight_bytes", "Weights in memory", "Bytes of all parameters as they are stored, quantised ones packed.", BOTH, "MB", 1e-6, better="lower"),
    Metric("kv_cache_bytes", "summary.generation.kv_cache_bytes", "KV cache", "Bytes of keys and values of a batch, at its largest.", unit="MB", scale=1e-6, better="lower"),
    Metric("latency_requests", "summary.generation.latency_requests", "Requests timed", "Requests behind the percentiles of latency."),
    Metric("time_to_first_token_s_p50", "summary.generation.time_to_first_token_s_p50", "Time to first token, p50", "From the request to its first token; percentile 50 of raw values.", _ENERGY, unit="ms", scale=1e3, better="lower"),
    Metric("time_to_first_token_s_p90", "summary.generation.time_to_first_token_s_p90", "Time to first token, p90", "From the request to its first token; percentile 90 of raw values.", unit="ms", scale=1e3, better="lower"),
    Metric("time_to_first_token_s_p99", "summary.generation.time_to_first_token_s_p99", "Time to first token, p99", "From the request to its first token; percentile 99 of raw values.", unit="ms", scale=1e3, better="lower"),
    Metric("time_per_output_token_s_p50", "summary.generation.time_per_output_token_s_p50", "Time per output token, p50", "Mean time between tokens of a request; percentile 50 of raw values.", _ENERGY, unit="ms", scale=1e3, better="lower"),
    Metric("time_per_output_token_s_p90", "summary.generation.time_per_output_token_s_p90", "Time per output token, p90", "Mean time between tokens of a request; percentile 90 of raw values.", unit="ms", scale=1e3, better="lower"),
    Metric("time_per_output_token_s_p99", "summary.generation.time_per_output_token_s_p99", "Time per output token, p99", "Mean time between tokens of a request; percentile 99 of raw values.", unit="ms", scale=1e3, better="lower"),
    Metric("inter_token_latency_s_p50", "summary.generation.inter_token_latency_s_p50", "Inter-token latency, p50", "From one token to the next; percentile 50 of raw values.", unit="ms", scale=1e3, better="lower"),
    Metric("inter_token_latency_s_p90", "summary.generation.inter_token_latency_s_p90", "Inter-token latency, p90", "From one token to the next; percentile 90 of raw values.", unit="ms", scale=1e3, better="lower"),
    Metric("inter_token_latency_s_p99", "summary.generation.inter_token_latency_s_p99", "Inter-token latency, p99", "From one token to the next; percentile 99 of raw values.", unit="ms", scale=1e3, better="lower"),
    Metric("request_latency_s_p50", "summary.generation.request_latency_s_p50", "Request latency, p50", "From the request to its last token; percentile 50 of raw values.", _ENERGY, unit="ms", scale=1e3, better="lower"),
    Metric("request_latency_s_p90", "summary.generation.request_latency_s_p90", "Request latency, p90", "From the request to its last token; percentile 90 of raw values.", unit="ms", scale=1e3, better="lower"),
    Metric("request_latency_s_p99", "summary.generation.request_latency_s_p99", "Request latency, p99", "From the request to its last token; percentile 99 of raw values.", unit="ms", scale=1e3, better="lower"),
    Metric(
        "score_joules_per_byte",
        "summary.phases.score.joules_per_byte",
        "Energy to score text",
        "Energy of scoring over the UTF-8 bytes of text that it covered, which compares tokenizers.",
        _ENERGY,
        "mJ/byte",
        1e3,
        better="lower",
        error="score_relative_half_width",
    ),
    Metric("score_joules_per_token", "summary.phases.score.joules_per_token", "Scoring energy per token", "As joules_per_token, of the scoring phase.", unit="mJ/token", scale=1e3),
    Metric("score_repeats", "summary.phases.score.repeats", "Repeats of scoring", "Measured windows of the scoring phase."),
    Metric(
        "score_relative_half_width",
        "summary.phases.score.joules_per_token_relative_half_width",
        "Random error of scoring",
        "95 % half-width over the mean of the scoring energy.",
        unit="%",
        scale=100,
    ),
    Metric("score_relative_half_width_by", "summary.phases.score.joules_per_token_interval", "Random error of scoring by", BY_WHAT),
    Metric("mbu", "summary.phases.{main}.mbu", "MBU", "Fraction of the memory bandwidth that reading the weights once an iteration needs; empty where it is unknown, or they fit in a cache.", better="higher", average="harmonic"),
    Metric("mfu", "summary.phases.{main}.mfu", "MFU", "Fraction of the dense peak FLOP/s (PaLM's count); empty where the peak is unknown.", better="higher", average="harmonic"),
    Metric("peak_memory_allocated_bytes", "summary.peak_memory_allocated_bytes", "Peak device memory", "Largest CUDA memory in tensors.", unit="GB", scale=1e-9),
    Metric("peak_rss_bytes", "summary.peak_rss_bytes", "Peak memory", "Largest resident memory of the run's process.", _ENERGY, "GB", 1e-9),
    Metric("duration_s", "duration_s", "Duration", "Seconds of the whole run.", unit="s"),
    Metric("run_energy_j", "summary.run.total_energy_j", "Energy of the run", "Of the whole run, loading and warm-up included, also of one that failed; of one that was killed, what its last report said.", unit="J"),
    Metric("run_energy_low_j", "summary.run.total_energy_low_j", "Energy of the run, low", "Lower end of its interval.", unit="J"),
    Metric("run_energy_high_j", "summary.run.total_energy_high_j", "Energy of the run, high", "Upper end of its interval.", unit="J"),
    Metric("run_energy_method", "summary.run.energy_method", "Energy of the run is", "How it was obtained."),
    Metric("carbon_g", "", "Carbon", "CO2 equivalent of the run's energy, by the PUE and carbon intensity of the site that the report was made for.", _ENERGY, unit="g", better="lower"),
    Metric("carbon_g_low", "", "Carbon, low", "From the lower ends of energy and factors.", unit="g"),
    Metric("carbon_g_high", "", "Carbon, high", "From the upper ends of energy and factors.", unit="g"),
    Metric("cost_usd", "", "Cost", "Of the run's energy, by the PUE and price of the site that the report was made for.", _ENERGY, unit="USD", better="lower"),
    Metric("cost_usd_low", "", "Cost, low", "From the lower ends of energy and factors.", unit="USD"),
    Metric("cost_usd_high", "", "Cost, high", "From the upper ends of energy and factors.", unit="USD"),
    Metric("fingerprint", "fingerprint", "Fingerprint", "Identity of the cell."),
    Metric("replicate_fingerprint", "", "Fingerprint without seed", "What runs that differ in nothing but their seed have in common."),
    Metric("environment_fingerprint", "environment_fingerprint", "Environment", "Identity of machine and software."),
    Metric("started_at", "started_at", "Started", "UTC."),
    Metric("reason", "reason", "Reason", "Why a run is not ok."),
)  # fmt: skip

BY_NAME = {metric.name: metric for metric in METRICS}
