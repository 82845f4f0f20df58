"""One small task in every language other than Python: add up a list, in the form of MultiPL-E's tasks.

For each language: the prompt, the tests, the rest of a correct function, a helper and usage code that models write.
"""

from dataclasses import dataclass

from swarmeval.executed import Executed
from swarmeval.records import Suite, Task


@dataclass(frozen=True, slots=True)
class Translation:
    """A task and an answer to it. The prompt and the body are a whole function."""

    tag: str
    prompt: str
    body: str
    tests: str
    helper: str
    usage: str
    above: str = ""  # code of the prompt above the function
    closing: str = ""  # end of the type around the function

    @property
    def function(self) -> str:
        return self.prompt + self.body

    def task(self, language: str) -> Task:
        return Task(
            f"Toy/{language}", self.above + self.prompt, Suite("total", self.tests), executed=Executed(language)
        )


C_COMMENT = "// Add up, it's easy: {\n// >>> total(x) }\n"
HASH_COMMENT = "# Add up, it's easy: {\n# >>> total(x) }\n"

TRANSLATIONS: dict[str, Translation] = {
    "javascript": Translation(
        "js",
        f"{C_COMMENT}function total(numbers){{\n",
        "    let sum = 0; // '{'\n    for (const n of numbers) { sum += n; }\n    return sum;\n}\n",
        "const assert = require('node:assert');\n\nfunction test() {\n  let candidate = total;\n"
        "  assert.deepEqual(candidate([1, 2]),3);\n}\n\ntest();",
        "const double = (x) => {\n    return `${x}}`.length ? 2 * x : /[}'\"]/.test(x);\n};\n",
        "const assert = require('assert');\nconst sample = [1, 2];\nconsole.log(total(sample));\n"
        "module.exports = { total };\n",
    ),
    "typescript": Translation(
        "typescript",
        f"{C_COMMENT}function total(numbers: number[]): number {{\n",
        "    let sum: number = 0;\n    for (const n of numbers) { sum += n; }\n    return sum;\n}\n",
        "declare var require: any;\nconst assert = require('node:assert');\n\nfunction test() {\n"
        "  let candidate = total;\n  assert.deepEqual(candidate([1, 2]),3);\n}\n\ntest();",
        "type Pair = { x: number; y: string };\n",
        "const result: number = total([1, 2]);\nconsole.log(result);\n",
    ),
    "cpp": Translation(
        "cpp",
        f"{C_COMMENT}long total(std::vector<long> numbers) {{\n",
        "    long sum = 0;\n    for (long n : numbers) { sum += n; }\n    return sum + ('}' - '}');\n}\n",
        "}\nint main() {\n    auto candidate = total;\n"
        "    assert(candidate((std::vector<long>({(long)1, (long)2}))) == (3));\n}\n",
        "long twice(long x) {\n    return 2 * x;\n}\n",
        'int main() {\n    std::cout << total({1, 2}) << "}";\n    return 0;\n}\n',
        above="#include<assert.h>\n#include<bits/stdc++.h>\n",
    ),
    "java": Translation(
        "java",
        "    // Add up, it's easy: {\n    public static long total(ArrayList<Long> numbers) {\n",
        "        long sum = 0L;\n        for (Long n : numbers) { sum += n; }\n        return sum;\n    }\n",
        "    }\n    public static void main(String[] args) {\n"
        "    assert(total((new ArrayList<Long>(Arrays.asList((long)1L, (long)2L)))) == (3L));\n    }\n\n}\n",
        "    private static long twice(long x) {\n        return 2 * x;\n    }\n",
        '    public static void main(String[] args) {\n        System.out.println(total(null) + "}");\n    }\n',
        above="import java.util.*;\nclass Problem {\n",
        closing="}\n",
    ),
    "go": Translation(
        "go",
        f"{C_COMMENT}func total(numbers []int) int {{\n",
        "    sum := 0\n    for _, n := range numbers {\n        sum += n\n    }\n    return sum\n}\n",
        'func TestTotal(t *testing.T) {\n    candidate := total\n'
        '    if fmt.Sprintf("%v", candidate([]int{1, 2})) != "3" {\n'
        '        t.Errorf("wrong")\n    }\n}\n',
        "func twice(x int) int {\n    return 2 * x\n}\n",
        "func TestTotalOfTwo(t *testing.T) {\n    if total([]int{1}) != 1 { t.Fail() }\n}\n\n"
        "func main() {\n    TestTotalOfTwo(nil)\n}\n",
        above='package total_test\n\nimport (\n    "testing"\n    "fmt"\n)\n\n',
    ),
    "rust": Translation(
        "rust",
        "/// Add up, it's easy: {\nfn total(numbers: Vec<isize>) -> isize {\n",
        "    let mut sum: isize = 0;\n    for n in numbers.iter() { sum += n; }\n"
        "    let _c: &'static str = \"}\";\n    sum\n}\n",
        "}\n\nfn main() {\n    let candidate = total;\n    assert_eq!(candidate(vec![1, 2]), 3);\n}\n",
        "fn twice<'a>(x: &'a isize) -> isize {\n    2 * x\n}\n",
        'fn main() {\n    println!("{}", total(vec![1]));\n}\n\n#[cfg(test)]\nmod tests {\n    use super::*;\n'
        "    #[test]\n    fn one() { assert_eq!(total(vec![1]), 1); }\n}\n",
    ),
    "php": Translation(
        "php",
        f"{C_COMMENT}function total($numbers) {{\n",
        "    $sum = 0;\n    foreach ($numbers as $n) { $sum += $n; }\n    return $sum; // it's }\n}\n",
        "function candidate(...$args) {\n    return total(...$args);\n}\n\nfunction test(): void {\n"
        '    if (candidate([1, 2]) !== 3) { throw new Exception("Test failed!"); }\n}\n\ntest();',
        "function twice($x) {\n    return 2 * $x;\n}\n",
        "function test() {\n    echo total([1]);\n}\n$sample = [1, 2];\necho total($sample);\n?>\n",
        above="<?php\n",
    ),
    "ruby": Translation(
        "ruby",
        f"{HASH_COMMENT}def total(numbers)\n",
        "  sum = 0\n  numbers.each do |n|\n    sum += n if n\n  end\n  while sum < 0 do\n    break\n  end\n"
        "  sum\nend\n",
        "require 'test/unit'\nclass TestHumanEval < Test::Unit::TestCase\n  def test_total\n"
        "    candidate = method(:total)\n    assert_equal(3, candidate.call([1, 2]))\n  end\nend\n",
        'def twice(x)\n  x = if x then x else 0 end\n  "#{x} end do" && 2 * x\nend\n',
        "sample = [1, 2]\nputs total(sample)\nif __FILE__ == $0\n  puts total([1])\nend\n",
    ),
    "perl": Translation(
        "perl",
        f"{HASH_COMMENT}sub total {{\n    my($numbers) = @_;\n",
        "    my $sum = 0;\n    foreach my $n (@$numbers) { $sum += $n; }\n    my $last = $#{$numbers};\n"
        "    (my $x = '}') =~ s/}//g;\n    return $sum;\n}\n",
        "use Test::Deep;\n\nsub testhumaneval {\n    my $candidate = \\&total;\n"
        "    if(eq_deeply($candidate->([1, 2]),3)) {\n"
        '        print "ok!" }else{\n        exit 1;\n        }\n}\n\ntesthumaneval();',
        "sub twice {\n    my ($x) = @_;\n    return 2 * $x;\n}\n",
        "my @sample = (1, 2);\nprint total(\\@sample), \"\\n\";\n1;\n",
    ),
    "lua": Translation(
        "lua",
        "-- Add up, it's easy: function\n-- >>> total(x) end\nlocal function total(numbers)\n",
        "    local sum = 0\n    for _, n in ipairs(numbers) do\n        if n then sum = sum + n end\n    end\n"
        "    repeat sum = sum until true -- end\n    return sum\nend\n",
        "lu = require('luaunit')\n\nfunction test_humaneval()\nlocal candidate = total\n"
        "    lu.assertEquals(candidate({1, 2}), 3)\nend\n\nos.exit(lu.LuaUnit.run())",
        "local function twice(x)\n    return x and 2 * x or [[end end]]\nend\n",
        "print(total({1, 2}))\nfor _, n in ipairs({1}) do\n    print(total({n}))\nend\n",
    ),
    "r": Translation(
        "r",
        f"{HASH_COMMENT}total <- function(numbers) {{\n",
        "    result <- 0\n    for (n in numbers) { result <- result + n }\n    return(result)  # it's }\n}\n",
        "test_humaneval <- function() {\n    candidate <- total\n"
        "    stopifnot(isTRUE(all.equal(candidate(c(1, 2)), 3)))\n}\n"
        "test_humaneval()",
        "twice <- function(x) {\n    2 * x\n}\n",
        "sample <- c(1, 2)\nprint(total(sample))\nresult <- total(c(3))\n",
    ),
    "bash": Translation(
        "bash",
        f"#!/bin/bash\n{HASH_COMMENT}total() {{\n",
        "    local sum=0\n    for n in $1; do\n        sum=$((sum + n))\n    done\n    case $sum in\n"
        "        x) echo \"}\" ;;\n"
        "        *) echo \"${sum#0x}\" ;;\n    esac\n}\n",
        '}\n\ncandidate() {\n    total "$@"\n}\n\nset -e\nrun_test() {\n    [[ $(candidate "1 2") = "3" ]]\n}\n'
        '\nrun_test',
        "twice() {\n    echo $((2 * $1))\n}\n",
        'if [ $# -gt 0 ]; then\n    total "$1"\nfi\nresult=$(total "1 2")\necho "$result"\nexit 0\n',
    ),
}  # fmt: skip
