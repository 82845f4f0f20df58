"""NF4 with a chosen number of weights per scale, which transformers' configuration of bitsandbytes has no field for."""

from typing import Any

NAME = "swarmeval_nf4_blocks"  # of the quantizer, in transformers' table


def with_block(config: Any, block: int) -> Any:
    """A BitsAndBytesConfig, changed to `block` weights per scale."""
    from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING, register_quantizer

    if NAME not in AUTO_QUANTIZER_MAPPING:
        register_quantizer(NAME)(_quantizer())
    config.quant_method, config.block = NAME, block
    return config


def _quantizer() -> type:
    """Transformers' quantizer, which takes the block size from the configuration."""
    from bitsandbytes.nn import Linear4bit
    from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer

    class BlockQuantizer(Bnb4BitHfQuantizer):  # type: ignore[misc]  # transformers has no types
        def _process_model_before_weight_loading(self, model: Any, device_map: Any, **others: Any) -> None:
            super()._process_model_before_weight_loading(model, device_map, **others)
            for module in model.modules():
                if isinstance(module, Linear4bit):
                    module.weight.blocksize = self.quantization_config.block

    return BlockQuantizer
