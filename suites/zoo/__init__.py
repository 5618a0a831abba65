"""The zoo: kernels that are wrong in ways seen in the field, and kernels that differ and are right."""
