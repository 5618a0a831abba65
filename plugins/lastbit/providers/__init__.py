"""Kernels found on this machine: one library a module, each with a KERNELS tuple or a kernels() function."""
