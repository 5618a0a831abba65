"""The law: cases and checks of each op, and the test files that walk them."""
