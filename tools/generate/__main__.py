"""`make generate`: write every generated file that is not current, and name it."""

from __future__ import annotations

from tools.generate import REPOSITORY, products


def main() -> None:
    """Write what has changed."""
    for path, text_of in products():
        text = text_of()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"Wrote {path.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
