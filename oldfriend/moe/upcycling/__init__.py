"""Ways from a dense model to a mixture of experts, and to a larger one."""
