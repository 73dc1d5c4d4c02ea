"""The two languages of templates: plain placeholders in braces, and Jinja2."""

from __future__ import annotations

import html
import re
import traceback
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ..errors import MissingExtra, TemplateError, printable, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import jinja2

__all__ = ["BraceLanguage", "JinjaLanguage", "Language", "Text", "value_of"]

# As many braces as there are, a name, as many braces as there are. All other braces are text, as in style sheets.
_BRACES = re.compile(r"(\{+)([^\W\d][\w -]*)(\}+)")
_JINJA_EXPRESSION = re.compile(r"(\{\{.*?\}\})", re.DOTALL)
_UNDEFINED = re.compile(r"'([^']*)' is undefined")
_NEWLINE = re.compile(r"\r\n|\r|\n")  # as Jinja counts lines
_NEEDS_ESCAPE = re.compile(r"[&<>\"']")


class Text(ABC):
    """Text with placeholders, compiled."""

    names: tuple[str, ...]
    """The fields it asks for, each once, in order."""

    @abstractmethod
    def __call__(self, fields: Mapping[str, object]) -> str:
        """Fill it in, or raise TemplateError."""


class Language(ABC):
    """What a placeholder looks like and does."""

    def __init__(self) -> None:
        self.wanted: set[str] = set()
        """The fields that what was compiled uses without having tested them."""

    @abstractmethod
    def compile(self, source: str, *, escape_html: bool = False) -> Text:
        """Compile text, whole."""

    @abstractmethod
    def placeholder(self, name: str) -> str:
        """What stands for the value of a field."""

    @abstractmethod
    def split(self, source: str) -> list[str]:
        """Split text so that each item of odd index is one placeholder, and the others are literal."""


def value_of(fields: Mapping[str, object], name: str) -> str:
    """The value of one field as text.

    Raises:
        TemplateError: there is no such field, or it is None.
    """
    try:
        value = fields[name]
    except KeyError:
        raise _missing(name, "pass it, or double the braces if they are meant as text") from None
    if type(value) is str:
        return value
    if value is None:
        raise TemplateError(
            f"the field {quoted(name)} is None", field=name, cure='pass "" where it may be empty'
        )
    return str(value)


def _missing(name: str, cure: str) -> TemplateError:
    return TemplateError(
        f"the template asks for the field {quoted(name)}, which was not given",
        field=name,
        cure=cure,
    )


class _BraceText(Text):
    __slots__ = ("_escape", "_pattern", "_slots", "names")

    def __init__(self, pieces: list[str], escape: bool) -> None:
        self._slots = tuple(pieces[1::2])
        self.names = tuple(dict.fromkeys(self._slots))
        self._escape = escape
        # The fastest way there is to put many strings into one.
        self._pattern = "%s".join([piece.replace("%", "%%") for piece in pieces[::2]])

    def __call__(self, fields: Mapping[str, object]) -> str:
        values = [value_of(fields, name) for name in self._slots]
        if self._escape:
            values = [html.escape(value) if _NEEDS_ESCAPE.search(value) else value for value in values]
        return self._pattern % tuple(values)


class BraceLanguage(Language):
    """`{name}`, and `{{name}}` for the text `{name}`; a name may hold spaces and hyphens, as columns of tables do."""

    def compile(self, source: str, *, escape_html: bool = False) -> Text:
        pieces = self.split(source)
        pieces[1::2] = [piece[1:-1] for piece in pieces[1::2]]
        self.wanted.update(pieces[1::2])
        return _BraceText(pieces, escape_html)

    def placeholder(self, name: str) -> str:
        return f"{{{name}}}"

    def split(self, source: str) -> list[str]:
        pieces = [""]
        end = 0
        for match in _BRACES.finditer(source):
            pieces[-1] += source[end : match.start()]
            end = match.end()
            left, right = len(match[1]), len(match[3])
            # Pairs stand for one brace each. What is left over makes the placeholder.
            if left % 2:
                pieces[-1] += "{" * (left // 2)
                pieces += [f"{{{match[2]}}}", "}" * (right // 2 if right % 2 else right - 1)]
            else:
                pieces[-1] += "{" * (left // 2) + match[2] + "}" * ((right + 1) // 2)
        pieces[-1] += source[end:]
        return pieces


class _JinjaText(Text):
    __slots__ = ("_source", "_template", "names")

    def __init__(self, source: str, template: jinja2.Template, names: tuple[str, ...]) -> None:
        self._source = source
        self._template = template
        self.names = names

    def __call__(self, fields: Mapping[str, object]) -> str:
        import jinja2

        try:
            return self._template.render(fields)
        except jinja2.UndefinedError as error:
            undefined = _UNDEFINED.match(str(error))
            if undefined:
                raise _missing(undefined[1], "pass it, or use default") from None
            raise self._failure(error) from error
        except Exception as error:  # the template calls what it was given
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> TemplateError:
        number = 1
        for frame, line in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename == self._template.filename:
                number = line
        problem, cure = str(error), "correct the template, or the value"
        if isinstance(error, TemplateError):  # that a value is None
            problem, cure = error.problem, error.cure
        return TemplateError(f"{_line(self._source, number)} fails: {printable(problem)}", cure=cure)


def _line(source: str, number: int) -> str:
    """A line of a template, in words: it is the best way to find it in a message of several parts."""
    return f"{quoted(_NEWLINE.split(source)[number - 1].strip())} in the template"


class JinjaLanguage(Language):
    """Jinja2; HTML parts are escaped automatically, and a missing variable is an error."""

    def __init__(self) -> None:
        super().__init__()
        try:
            import jinja2
        except ImportError:
            raise MissingExtra("templates", 'engine="jinja2"') from None
        self._environment = jinja2.Environment(
            undefined=jinja2.StrictUndefined, keep_trailing_newline=True, finalize=_refuse_none
        )
        self._escaping = self._environment.overlay(autoescape=True)

    def compile(self, source: str, *, escape_html: bool = False) -> Text:
        import jinja2
        import jinja2.meta

        environment = self._escaping if escape_html else self._environment
        try:
            tree = environment.parse(source)
            self.wanted.update(_wanted(tree, frozenset()))
            names = jinja2.meta.find_undeclared_variables(tree)
            return _JinjaText(source, environment.from_string(source), tuple(sorted(names)))
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(
                f"{_line(source, error.lineno)} is not Jinja: {printable(error.message)}",
                cure="correct the template",
            ) from error

    def placeholder(self, name: str) -> str:
        return f"{{{{ {name} }}}}"

    def split(self, source: str) -> list[str]:
        if "{%" in source or "{#" in source:
            raise TemplateError(
                "statements and comments have no place in an address or URL field", cure="use {{ … }} there"
            )
        return _JINJA_EXPRESSION.split(source)


def _wanted(node: jinja2.nodes.Node, tested: frozenset[str]) -> Iterator[str]:
    """The names that are used, but for conditions and what depends on one with that name in it."""
    from jinja2 import nodes

    if isinstance(node, nodes.Name) and node.name not in tested:
        yield node.name
    condition = {nodes.If: "test", nodes.CondExpr: "test", nodes.Or: "left"}.get(type(node), "")
    if condition:
        test = getattr(node, condition)
        tested |= {each.name for each in (test, *test.find_all(nodes.Name)) if isinstance(each, nodes.Name)}
    for child in node.iter_child_nodes(exclude=(condition,)):
        yield from _wanted(child, tested)


def _refuse_none(value: object) -> object:
    if value is None:
        raise TemplateError("a value is None", cure='pass "" where it may be empty, or use default')
    return value
