"""What every test stands on."""

# Imported here, before any framework: CPython 3.11 fails with "AST constructor
# recursion depth mismatch" when hypothesis is first imported deep inside one.
import hypothesis  # noqa: F401
