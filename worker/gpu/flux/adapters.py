"""LoRAs for Flux: as for every model, but files that would change the model for everybody are refused."""

from collections.abc import Mapping

from torch import Tensor, nn

from worker.gpu.models.adapters import Adapters


class FluxAdapters(Adapters):
    """diffusers also reads control LoRAs, for which it widens layers and replaces norms of the model itself:
    all other jobs would get those too."""

    def _load(self, weights: Mapping[str, Tensor], name: str) -> None:
        converted = self._pipeline.lora_state_dict(dict(weights))
        sizes = {
            f"transformer.{path}": module.in_features
            for path, module in self._pipeline.transformer.named_modules()
            if isinstance(module, nn.Linear)
        }
        for key, weight in converted.items():
            layer, is_input, _ = key.partition(".lora_A.")
            is_weight = key.startswith("transformer.") and "lora" not in key
            if is_weight or (is_input and sizes.get(layer, weight.shape[1]) != weight.shape[1]):
                raise ValueError(f"{key} would change the model itself")
        super()._load(weights, name)
