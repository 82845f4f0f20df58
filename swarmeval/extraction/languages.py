"""Facts about the lexical structure of languages other than Python, as one table. Contains no code that reads text.

Patterns for definitions, assignments and imports are matched where a statement starts, in code whose strings and
comments are masked. Every group of `definition` and `assignment` is a name that the statement binds.
"""

import re
from dataclasses import dataclass

# An unclosed string or comment extends to the end of its line or text, so that no character is scanned twice.
LINE_STRING = r'"(?:\\.|[^"\\\n])*+"?'
LINE_APOSTROPHES = r"'(?:\\.|[^'\\\n])*+'?"
LONG_STRING = r'"(?:\\[\s\S]|[^"\\])*+"?'
LONG_APOSTROPHES = r"'(?:\\[\s\S]|[^'\\])*+'?"
BACKTICKS = r"`(?:\\[\s\S]|[^`\\])*+`?"
SLASHES = r"//[^\n]*+|/\*[\s\S]*?(?:\*/|\Z)"
HASH = r"\#[^\n]*+"
# A slash after an operator opens a regular expression. The operator belongs to the code.
PATTERN = (
    r"(?P<before>[=(,:!&|?{;\[~][ \t]*+|\breturn[ ])/(?![/*\s])(?:\\.|\[(?:\\.|[^\]\\\n]){0,60}+\]|[^/\\\n\[]){1,300}+/"
)
PERL_MARKS = r"""(?<![\w$@%&>{-])(?:
    (?:s|tr|y)(?:(?P<mark>[/|!#,~^])(?:\\.|(?!(?P=mark))[^\\\n]){0,300}(?P=mark)(?:\\.|(?!(?P=mark))[^\\\n]){0,300}(?P=mark)
               |\{[^{}\n]{0,300}\}[ ]?\{[^{}\n]{0,300}\})
  | (?:m|q[qwrx]?)[ ]?(?:(?P<edge>[/|!#~^])(?:\\.|(?!(?P=edge))[^\\\n]){0,300}(?P=edge)
               |\{[^{}]{0,300}\}|\([^()]{0,300}\)|\[[^\[\]]{0,300}\])
)"""
BRACKETS = (r"[{(\[]", r"[})\]]")


@dataclass(frozen=True, slots=True)
class Language:
    """Patterns that find the statements of a program, and those that belong to an answer."""

    tags: frozenset[str]  # languages of fences
    hidden: re.Pattern[str]  # a comment or a string; the group "before", if any, is code
    opens: str
    closes: str
    definition: re.Pattern[str]  # of a function or type
    assignment: re.Pattern[str] | None  # of a variable; None if the top level has only declarations
    imports: re.Pattern[str]  # statements that stay although nothing names them
    continues: re.Pattern[str]  # start of a line that belongs to the statement above
    leads: re.Pattern[str] | None = None  # a line that belongs to the statement below
    once: re.Pattern[str] | None = None  # text that the prompt provides and that a program may hold only once
    container: re.Pattern[str] | None = None  # head of the type that holds the functions
    import_path: re.Pattern[str] | None = None  # one import, where the compiler refuses unused and repeated ones


def language(
    tags: str,
    hidden: tuple[str, ...],
    definition: str,
    assignment: str | None,
    imports: str,
    blocks: tuple[str, str] = BRACKETS,
    continues: str = r"[{})\]]|else\b|catch\b|finally\b|while\b[^{]*;|[.?:&|+*=-]",
    leads: str | None = None,
    once: str | None = None,
    container: str | None = None,
    import_path: str | None = None,
) -> Language:
    def compiled(pattern: str | None) -> re.Pattern[str] | None:
        return None if pattern is None else re.compile(pattern, re.MULTILINE)

    return Language(
        frozenset(tags.split()),
        re.compile("|".join(hidden), re.MULTILINE | re.VERBOSE),
        *blocks,
        re.compile(definition),
        compiled(assignment),
        re.compile(imports),
        re.compile(continues),
        compiled(leads),
        compiled(once),
        compiled(container),
        compiled(import_path),
    )


SCRIPT_NAME = r"(?:export\s+)?(?:const|let|var)\s+([\w$]+)|([\w$]+)\s*=(?![=>])"
SCRIPT_TYPES = r"class|interface|enum|namespace|type"
SCRIPT_DEFINITION = (
    r"(?:export\s+)?(?:default\s+)?(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?"
    rf"(?:(?:function\b\s*\*?|(?:const\s+)?(?:{SCRIPT_TYPES})\b)\s*([\w$]+)|"
    r"(?:const|let|var)\s+([\w$]+)(?:\s*:[^=]{0,200})?\s*=\s*(?:async\b\s*)?(?:function\b|\([^()]{0,200}\)[^={;]{0,80}=>|\w+\s*=>))"
)
SCRIPT = (SLASHES, LINE_STRING, LINE_APOSTROPHES, BACKTICKS, PATTERN)
SCRIPT_IMPORTS = r"import\b|(?:const|let|var)\s*\{[^}]{0,300}\}\s*=\s*require|(?:const|let|var)\s+\w+\s*=\s*require"
EXPORT = r"^export[ ]+(?:default[ ]+)?(?=(?:async|function|const|let|var|class|interface|type|enum|abstract)\b)"

LANGUAGES: dict[str, Language] = {
    "javascript": language(
        "js javascript node nodejs jsx mjs", SCRIPT, SCRIPT_DEFINITION, SCRIPT_NAME, SCRIPT_IMPORTS, once=EXPORT,
    ),
    "typescript": language(
        "ts typescript tsx js javascript", SCRIPT, SCRIPT_DEFINITION, SCRIPT_NAME, SCRIPT_IMPORTS, once=EXPORT,
    ),
    "cpp": language(
        "cpp c++ cc cxx c", (SLASHES, LINE_STRING, r"(?<!\w)'(?:\\[^\n]|[^'\\\n]){1,8}'"),
        r"(?:template\b[^\n{]*\s)?(?:typedef\s+)?(?:struct|class|union|enum(?:\s+class)?|namespace)\s+(\w+)|"
        r"using\s+(\w+)\s*=|#\s*define\s+(\w+)|[^(){};=#]{0,300}?\b(\w+)\s*\(",
        None, r"#|using\b|typedef\b", leads=r"template\b[^{;]*$|\[\[|__attribute__",
        continues=r"[{})\]]|else\b|catch\b|[:,.?&|+*=-]",
    ),
    "java": language(
        "java", (SLASHES, r'"""[\s\S]*?(?:"""|\Z)', LINE_STRING, r"'(?:\\[^\n]|[^'\\\n]){1,8}'"),
        r"(?:@\w+\s+)*(?:(?:public|private|protected|static|final|abstract|sealed)\s+)*"
        r"(?:(?:class|interface|enum|record)\s+(\w+)|[^(){};=@]{0,300}?\b(\w+)\s*\()",
        None, r"import\b", leads=r"@\w+(?:\([^)]*\))?\s*$", once=r"^[ \t]*package\s+[\w.]+;",
        container=r"(?:(?:public|final|abstract|static)\s+)*class\s+(\w+)[^{]*\{",
    ),
    "go": language(
        "go golang", (SLASHES, LINE_STRING, r"'(?:\\[^\n]|[^'\\\n]){1,10}'", r"`[^`]*+`?"),
        r"func\s+(\w+)|func\s*\([^)]*\)\s*(\w+)|(?:type|var|const)\s+(\w+)", None, r"import\b",
        continues=r"[})\]]", once=r"^package\s+\w+", import_path=r'^\s*(?:import\s*\(?\s*)?([\w.]+\s+)?"([^"\n]+)"',
    ),
    "rust": language(
        "rust rs",
        (SLASHES, r'\bb?r(?P<hashes>\#*)"[\s\S]*?(?:"(?P=hashes)|\Z)', LONG_STRING, r"'(?:\\[^\n']{1,12}|[^'\\\n])'"),
        r"(?:pub(?:\([^)]*\))?\s+)?(?:(?:async|unsafe|const|extern)\s+)*"
        r"(?:(?:fn|struct|enum|trait|mod|type|union|const|static(?:\s+mut)?)\s+|macro_rules!\s*)(\w+)",
        None, r"(?:pub\s+)?use\b|extern\s+crate|impl\b|#!?\[",
        leads=r"#\[", continues=r"[{})\]]|where\b|else\b|[.?&|+*=-]",
    ),
    "php": language(
        "php", (r"\#(?!\[)[^\n]*+", SLASHES, LONG_STRING, LONG_APOSTROPHES),
        r"function\s*&?\s*(\w+)|(?:(?:abstract|final|readonly)\s+)*(?:class|interface|trait|enum)\s+(\w+)",
        r"\$(\w+)\s*=|const\s+(\w+)|define\s*\(", r"use\b|namespace\b|declare\b|require|include", leads=r"#\[",
        once=r"<\?(?:php\b|=)?|\?>",
    ),
    "ruby": language(
        "ruby rb",
        (r"^=begin\b[\s\S]*?(?:^=end\b|\Z)", HASH, LONG_STRING, LONG_APOSTROPHES, PATTERN,
         r"%[wiqQWI]?(?:\[[^\]]{0,500}\]|\([^)]{0,500}\)|\{[^}]{0,500}\})"),
        r"(?:private\s+|public\s+)?def\s+(?:self\.)?(\w+)|(?:class|module)\s+(?:<<\s*)?([\w:]+)|define_method",
        r"([\w$@]+)\s*(?:\|\||&&)?=(?![=~])", r"require|using\b|include\b|extend\b",
        blocks=(
            r"[{(\[]|(?:^|[=(\[,;&|{>!])[ \t]*+(?:if|unless|case|begin|"
            r"(?:while|until|for)\b(?:[^\n]{0,200}[ \t;]do[ \t]*$)?)(?![\w?!:])|"
            r"(?<![\w.:@$])(?:def|class|module|do)(?![\w?!:])",
            r"[})\]]|(?<![\w.:@$])end(?![\w?!:])",
        ),
        continues=r"(?:end|else|elsif|rescue|ensure|when|in)\b|[})\]]|[.&|]",
    ),
    "perl": language(
        "perl pl",
        (r"(?<![$@&\w])\#[^\n]*+", r"^=\w+[\s\S]*?(?:^=cut\b|\Z)", PERL_MARKS, LONG_STRING, LONG_APOSTROPHES, PATTERN),
        r"sub\s+(\w+)", r"(?:my|our|local)\s*\(?\s*[\$@%](\w+)", r"use\b|no\b|require\b|package\b",
        continues=r"[{})\]]|else\b|elsif\b|[.?:&|=]",
    ),
    "lua": language(
        "lua", (r"--\[(?P<c>=*)\[[\s\S]*?(?:\](?P=c)\]|\Z)", r"--[^\n]*+", r"\[(?P<s>=*)\[[\s\S]*?(?:\](?P=s)\]|\Z)",
                LINE_STRING, LINE_APOSTROPHES),
        r"(?:local\s+)?function\s+([\w.:]+)|(?:local\s+)?([\w.]+)\s*=\s*function\b",
        r"(?:local\s+)?([\w.]+)(?:\s*,\s*\w+)*\s*=(?!=)", r"(?:local\s+)?\w+\s*=\s*require\b|require\b",
        blocks=(r"[{(\[]|\b(?:function|if|do|repeat)\b", r"[})\]]|\b(?:end|until)\b"),
        continues=r"(?:end|else|elseif|until|then|do)\b|[})\]]|[.:+*/=-]",
    ),
    "r": language(
        "r rscript", (HASH, LONG_STRING, LONG_APOSTROPHES, BACKTICKS),
        r"([\w.]+)\s*(?:<<?-|=)\s*(?:function\b|\\\()", r"([\w.]+)\s*(?:<<?-|=(?!=))",
        r"(?:suppress\w+\()?(?:library|require)\b",
        continues=r"[{})\]]|else\b",
    ),
    "bash": language(
        "bash sh shell zsh", (r"(?<![^\s;])\#[^\n]*+", r"\\[^\n]", LONG_STRING, r"'[^']*+'?"),
        r"(?:function\s+)?([\w-]+)\s*\(\)|function\s+([\w-]+)",
        r"(?:(?:declare|local|export|readonly|typeset)\s+(?:-\w+\s+)*)?(\w+)(?:\[[^\]\n]*\])?\+?=", r"shopt\b|source\b",
        blocks=(r"\{", r"\}"), continues=r"[{})]|(?:fi|done|esac|else|elif|then|do)\b|[|&]",
    ),
}  # fmt: skip
