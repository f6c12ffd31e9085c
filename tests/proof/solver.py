#!/usr/bin/env python3
"""The cvc5 solver as a program: SMT-LIB in on standard input, answers out on standard output.

The Python package brings the solver as a library and no program to run, so this is one. Arguments are those of the
program, `--lang smt` and `--tlimit=MILLISECONDS`; others are refused, so that none is believed to have had an effect.
"""
import sys

import cvc5


def main() -> int:
    limits = []
    arguments = iter(sys.argv[1:])
    for argument in arguments:
        if argument == "--lang":
            if next(arguments, "") != "smt":
                sys.exit("only --lang smt")
        elif argument.startswith("--tlimit="):
            limits.append(("tlimit-per", argument.split("=", 1)[1]))
        else:
            sys.exit(f"unknown argument {argument}")
    fresh = True
    while fresh:
        fresh = serve(limits)
    return 0


def serve(limits) -> bool:
    """Answers until the end of input (False) or a reset (True), which begins anew with a new solver."""
    terms = cvc5.TermManager()
    solver = cvc5.Solver(terms)
    for name, value in limits:
        solver.setOption(name, value)
    symbols = cvc5.SymbolManager(terms)
    parser = cvc5.InputParser(solver, symbols)
    text = ""
    for line in sys.stdin:
        if line.strip() == "(reset)":
            return True
        if line.strip() == "(exit)":
            return False
        text += line
        # A command is whole when its brackets are closed, outside strings, quoted symbols and comments.
        if not whole(text):
            continue
        try:
            parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, text, "input")
            text = ""
            while not (command := parser.nextCommand()).isNull():
                answer = command.invoke(solver, symbols)
                if answer and answer != "success\n":
                    sys.stdout.write(answer)
                    sys.stdout.flush()
        except RuntimeError as error:
            told = str(error).replace('"', "'").replace("\n", " ")
            print(f'(error "Parse Error: {told}")', flush=True)
            return False
    return False


def whole(text: str) -> bool:
    depth, within = 0, ""
    for character in text:
        if within:
            if character == within:
                within = ""
        elif character in '"|':
            within = character
        elif character == ";":
            within = "\n"
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
    return depth == 0 and within in ("", "\n")


if __name__ == "__main__":
    sys.exit(main())
