from own_modules import mine, own_imports

__all__ = ["mine", "own_imports"]
