"""Run by the Python that vLLM is installed in: writes a language model of random weights with a tokenizer of its own, `base`,
and two LoRA adapters for it, `tone` and `calm`. Nothing is downloaded."""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

HIDDEN, HEADS, KEY_HEADS, LAYERS, RANK = 64, 2, 1, 2, 8
HEAD = HIDDEN // HEADS
"""32: vLLM's attention on CPUs dies with less, at the first request."""
TEXT = ["the flight is late because of wind and rain", "a model answers questions about flights"] * 50
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)


def write(root: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=special[2], pad_token=special[0])
    fast.chat_template = TEMPLATE
    fast.save_pretrained(root / "base")
    torch.manual_seed(7)
    config = Qwen2Config(
        vocab_size=len(fast),
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    Qwen2ForCausalLM(config).save_pretrained(root / "base")
    for name in ("tone", "calm"):
        _write_adapter(root / name)


def _write_adapter(folder: Path) -> None:
    weights = {}
    for layer in range(LAYERS):
        for part, outputs in (("q_proj", HIDDEN), ("v_proj", KEY_HEADS * HEAD)):
            place = f"base_model.model.model.layers.{layer}.self_attn.{part}"
            weights[f"{place}.lora_A.weight"] = torch.randn(RANK, HIDDEN)
            weights[f"{place}.lora_B.weight"] = torch.randn(outputs, RANK)
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    said = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "base",
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "target_modules": ["q_proj", "v_proj"],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(said))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
