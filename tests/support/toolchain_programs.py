"""A small task in every language, with tests in the form of MultiPL-E, and the functions that a model might write."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SmallTask:
    """The function add(a, b): tests, and candidates that pass, are wrong, raise an error, or are no program."""

    right: str
    wrong: str
    raising: str
    broken: str
    tests: str


JS_TESTS = "const assert = require('node:assert');\nfunction test() {\n  assert.deepEqual(add(1, 2), 3);\n}\n\ntest();"

CPP_START = "#include<assert.h>\n#include<bits/stdc++.h>\nlong add(long a, long b) {"
GO_START = 'package add_test\n\nimport (\n    "testing"\n    "fmt"\n)\n\nfunc add(a int, b int) int {'
JAVA_START = "import org.javatuples.*;\nclass Problem {\n    public static long add(long a, long b) {"

TASKS = {
    "python": SmallTask(
        right="def add(a, b):\n    return a + b",
        wrong="def add(a, b):\n    return a - b",
        raising="def add(a, b):\n    return a + missing",
        broken="def add(a, b:\n    return a + b",
        tests="def check(candidate):\n    assert candidate(1, 2) == 3\n\ncheck(add)\n",
    ),
    "javascript": SmallTask(
        right="function add(a, b){ return a + b; }",
        wrong="function add(a, b){ return a - b; }",
        raising="function add(a, b){ return a + missing; }",
        broken="function add(a, b){ return a + ; }",
        tests=JS_TESTS,
    ),
    "typescript": SmallTask(
        right="function add(a: number, b: number): number { return a + b; }",
        wrong="function add(a: number, b: number): number { return a - b; }",
        raising="function add(a: number, b: number): number { throw new Error('no'); }",
        broken="function add(a: number, b: number): number { return 'a type error'; }",
        tests=f"declare var require: any;\n{JS_TESTS}",
    ),
    "cpp": SmallTask(
        right=CPP_START + "\n    return a + b;",
        wrong=CPP_START + "\n    return a - b;",
        raising=CPP_START + '\n    throw std::logic_error("no");',
        broken=CPP_START + "\n    return a + missing;",
        tests="}\nint main() {\n    auto candidate = add;\n    assert(candidate((1), (2)) == (3));\n}\n",
    ),
    "java": SmallTask(
        right=JAVA_START + "\n        return a + b;",
        wrong=JAVA_START + "\n        return a - b;",
        raising=JAVA_START + "\n        return a / (b - b);",
        broken=JAVA_START + "\n        return missing;",
        tests="    }\n    public static void main(String[] args) {\n    assert(add((1l), (2l)) == (3l));\n    }\n\n}\n",
    ),
    "go": SmallTask(
        right=GO_START + "\n    return a + b\n}",
        wrong=GO_START + "\n    return a - b\n}",
        raising=GO_START + '\n    panic("no")\n}',
        broken=GO_START + "\n    c := a\n}",
        tests="""func TestAdd(t *testing.T) {
  candidate := add
\ttype test struct {
\t\tactual   interface{}
\t\texpected interface{}
\t}
   tests := []test{
     { actual: candidate(1, 2), expected: 3 },
   }

\tfor i, tc := range tests {
\t\tt.Run(fmt.Sprintf("test num % d", i), func(t *testing.T) {
\t\t\tif fmt.Sprintf("%v", tc.actual) != fmt.Sprintf("%v", tc.expected) {
\t\t\t\tt.Errorf("expected '%s', got '%s'", tc.expected, tc.actual)
\t\t\t}
\t\t})
\t}
}
""",
    ),
    "rust": SmallTask(
        right="fn add(a: isize, b: isize) -> isize {\n    a + b",
        wrong="fn add(a: isize, b: isize) -> isize {\n    a - b",
        raising='fn add(a: isize, b: isize) -> isize {\n    panic!("no {} {}", a, b)',
        broken="fn add(a: isize, b: isize) -> isize {\n    a + missing",
        tests="}\n\nfn main() {\n    let candidate = add;\n    assert_eq!(candidate(1, 2), 3);\n}\n",
    ),
    "php": SmallTask(
        right="<?php\nfunction add($a, $b) { return $a + $b; }",
        wrong="<?php\nfunction add($a, $b) { return $a - $b; }",
        raising="<?php\nfunction add($a, $b) { return missing($a); }",
        broken="<?php\nfunction add($a, $b) { return $a + ; }",
        tests="function candidate(...$args) {\n    return add(...$args);\n}\n\nfunction test(): void {\n"
        '    if (candidate(1, 2) !== 3) { throw new Exception("Test failed!"); }\n}\n\ntest();',
    ),
    "ruby": SmallTask(
        right="def add(a, b)\n  a + b\nend",
        wrong="def add(a, b)\n  a - b\nend",
        raising="def add(a, b)\n  a + missing\nend",
        broken="def add(a, b)\n  a +\nend",
        tests="require 'test/unit'\nclass TestHumanEval < Test::Unit::TestCase\n  def test_add\n"
        "    candidate = method(:add)\n    assert_equal(3, candidate.call(1, 2))\n  end\nend\n",
    ),
    "perl": SmallTask(
        right="sub add {\n    my($a, $b) = @_;\n    return $a + $b;\n}",
        wrong="sub add {\n    my($a, $b) = @_;\n    return $a - $b;\n}",
        raising="sub add {\n    die 'no';\n}",
        broken="sub add {\n    return (;\n}",
        tests="use Test::Deep;\n\n\nsub testhumaneval {\n    my $candidate = \\&add;\n"
        '        if(eq_deeply($candidate->(1, 2),3)) {\n        print "ok!" }else{\n        exit 1;\n        }\n}\n\n'
        "testhumaneval();",
    ),
    "lua": SmallTask(
        right="local function add(a, b)\n  return a + b\nend",
        wrong="local function add(a, b)\n  return a - b\nend",
        raising="local function add(a, b)\n  return a + missing\nend",
        broken="local function add(a, b)\n  return a +\nend",
        tests="lu = require('luaunit')\n\nfunction test_humaneval()\nlocal candidate = add\n"
        "    lu.assertEquals(candidate(1, 2), 3)\nend\n\nos.exit(lu.LuaUnit.run())",
    ),
    "r": SmallTask(
        right="add <- function(a, b) {\n  a + b\n}",
        wrong="add <- function(a, b) {\n  a - b\n}",
        raising="add <- function(a, b) {\n  a + missing_value\n}",
        broken="add <- function(a, b) {\n  a + + )\n}",
        tests="test_humaneval <- function() {\n    candidate <- add\n"
        "    stopifnot(isTRUE(all.equal(candidate(1, 2), 3)))\n}\ntest_humaneval()",
    ),
    "bash": SmallTask(
        right="#!/bin/bash\nadd() {\n    echo $(($1 + $2))",
        wrong="#!/bin/bash\nadd() {\n    echo $(($1 - $2))",
        raising="#!/bin/bash\nmissing_command\nexit 3\nadd() {\n    echo",
        broken="#!/bin/bash\nadd() {\n    if then",
        tests='}\n\ncandidate() {\n    add "$@"\n}\n\nset -e\n'
        'run_test() {\n    [[ $(candidate "1" "2") = "3" ]]\n}\n\nrun_test',
    ),
}
