"""The keys that the protocol's pages show in the answers of each endpoint, in their order."""

TEXT2IMG_META = [
    *("prompt", "model_id", "negative_prompt", "scheduler", "revision", "safetychecker", "W", "H"),
    *("enable_attention_slicing", "file_prefix", "guidance_scale", "seed", "steps", "n_samples", "upscale"),
    *("panorama", "self_attention", "embeddings", "lora", "outdir", "vae"),
]
IMG2IMG_META = [
    *("prompt", "model_id", "scheduler", "safetychecker", "negative_prompt", "W", "H", "guidance_scale"),
    *("init_image", "steps", "n_samples", "strength", "full_url", "upscale", "seed", "outdir"),
    *("file_prefix",),
]
INPAINT_META = [
    *("prompt", "model_id", "scheduler", "safetychecker", "negative_prompt", "W", "H", "guidance_scale"),
    *("init_image", "mask_image", "multi_lingual", "steps", "n_samples", "full_url", "upscale", "seed"),
    *("outdir", "file_prefix"),
]
CONTROLNET_META = [
    *("prompt", "model_id", "controlnet_model", "controlnet_type", "negative_prompt", "scheduler"),
    *("safetychecker", "auto_hint", "guess_mode", "strength", "W", "H", "guidance_scale", "seed"),
    *("multi_lingual", "init_image", "mask_image", "steps", "full_url", "upscale", "n_samples"),
    *("embeddings", "lora", "outdir", "file_prefix"),
]
V6_META = [
    *("prompt", "model_id", "negative_prompt", "scheduler", "safety_checker", "W", "H", "guidance_scale"),
    *("seed", "steps", "n_samples", "full_url", "instant_response", "tomesd", "ip_adapter_id"),
    *("ip_adapter_scale", "ip_adapter_image", "free_u", "upscale", "panorama", "self_attention"),
    *("use_karras_sigmas", "algorithm_type", "safety_checker_type", "embeddings", "vae", "lora"),
    *("lora_strength", "clip_skip", "temp", "base64", "file_prefix"),
]
FLUX_META = [
    *("base64", "clip_skip", "file_prefix", "guidance_scale", "height", "instant_response", "model_id"),
    *("n_samples", "negative_prompt", "num_inference_steps", "opacity", "output_type", "padding_down"),
    *("padding_right", "prompt", "rescale", "scale_down", "seed", "temp", "watermark", "width"),
]
