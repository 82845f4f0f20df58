"""A tiny random Llama in a GGUF file."""

from pathlib import Path

import gguf
import numpy as np

from tests.support import tiny_model

BYTE_TOKENS = 3  # <bos>, <eos> and <turn> come before the bytes


def save(file: Path, kind: gguf.GGMLQuantizationType, stated: gguf.LlamaFileType | None) -> Path:
    """Write the model, its matrices quantized to `kind`; the header states `stated`."""
    model, inner = tiny_model.model(), tiny_model.tokenizer().backend_tokenizer
    config = model.config
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    if stated is not None:
        writer.add_file_type(stated)
    words = sorted(inner.get_vocab().items(), key=lambda item: item[1])
    texts = [text for text, _ in words] + [f"<unused{k}>" for k in range(config.vocab_size - len(words))]
    special = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(texts)
    writer.add_token_types([special[k >= BYTE_TOKENS] for k in range(len(texts))])
    writer.add_token_merges(["d e", "de f"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, values in model.state_dict().items():
        array = values.numpy().astype(np.float32)
        used = kind if array.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(
            names.get_name(name, try_suffixes=(".weight",)), gguf.quants.quantize(array, used), raw_dtype=used
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
