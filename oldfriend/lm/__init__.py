"""Language models: tokenizer, base model, packing, training, LoRA and generation."""
