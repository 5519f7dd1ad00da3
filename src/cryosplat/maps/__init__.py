"""What is measured on maps: FSC, masks, local and directional resolution, sharpening, models."""
