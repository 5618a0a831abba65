"""The probes: questions put to a kernel whose answers say how it adds, and the model that they make."""
