"""The option of a multiple-choice question that an answer in words names, and how many options there are."""

from __future__ import annotations

import re
import unicodedata

from alphaf_orch.programs.scoring.markup import boxed, plain
from alphaf_orch.programs.scoring.text import cleaned

_LINE_OPTION = re.compile(r"^[ \t]*[(\[]?(?:(\d{1,2})[).\]](?!\d)|([①-⑳]))", re.MULTILINE)
_INLINE_OPTION = re.compile(r"(?:^|(?<=\s))[(\[]?(?:(\d{1,2})[).\]](?!\d)|([①-⑳]))", re.MULTILINE)

# However an option is written, it is read as `3번`: ③, ❸, 3️⃣, (3)번, 보기 3, 세 번째, 삼번, 선택지 C.
_CIRCLED = re.compile(r"[(\[]?([①-⑳⓵-⓾❶-❿➀-➓㊀-㊉])[)\]]?(?:\s?번(?!째))?")
_BESIDE = re.compile(r"\s*(?:,|와|과|및|또는|이나|나|/|·|or|and)\s*[(\[]?[①-⑳⓵-⓾❶-❿➀-➓㊀-㊉]")
_KEYCAP = re.compile("([0-9])\ufe0f?\u20e3")
_CHINESE = "㊀㊁㊂㊃㊄㊅㊆㊇㊈㊉"
_ORDINALS = {
    name: number
    for number, names in enumerate(
        ("첫|첫째|일", "두|둘째|이", "세|셋째|삼", "네|넷째|사", "다섯|다섯째|오", "여섯|여섯째|육", "일곱|일곱째|칠"),
        1,
    )
    for name in names.split("|")
}
_ORDINAL = re.compile(
    r"(?<![가-힣\d])(?:(?P<nth>첫|두|세|네|다섯|여섯|일곱|\d{1,2})\s?번째|(?P<native>[첫둘셋넷]째|다섯째|여섯째|일곱째)"
    r"|(?P<sino>[일이삼사오육칠])\s?번)(?:\s?(?:보기|선택지|선지|항목|답안|옵션))?"
    r"(?=[은는]? ?(?:입니|이다|이에|예요|정답|맞|옳|오답|아니|아닌|틀)"
    r"|[이가을를은는] ?(?:정답|맞|옳|고|선택|오답|아니|아닌|틀)|[\s.!'\")]*(?:\n|$))"
)
_WORD = r"(?:보기|선택지|선지|답안|옵션|option|choice|항목|번호)"
_NAMED = re.compile(
    rf"{_WORD}\s*(?:번호)?\s*[#:]?\s*[(\[]?(\d{{1,2}}|[A-Ja-j](?![A-Za-z]))[)\]]?(?:\s*번)?(?![\d.,]*\d)", re.IGNORECASE
)

# One number, or several that are named together (1번과 3번): the latter is no answer.
_ONE = r"(?:\d{1,2}(?:\s*번)?|[A-J](?![A-Za-z])|(?<![^(\[])[a-j](?=[)\].]?$))"
_GIVEN = (
    rf"(?:바로|제|[\s*\"'“”‘’「(\[<〈《|])*(?P<given>{_ONE}(?:[)\]]?\s*(?:,|와|과|및|또는|이나|나|/|·|or|and)\s*[(\[]?{_ONE}){{0,6}})"
    r"(?!\s*(?:[년월일개원만억천%배명회조p]|가지|퍼센트|시간|\d))(?!\s*[,.]\d)"
)
_ENDS = r"[\s\"'”’」.)\]>〉》|]*"
_ONLY = re.compile(rf"{_GIVEN}\s*[)\].]?\s*(?:입니다|이다|임|이에요|예요)?{_ENDS}")
_CUE = re.compile(
    r"(?:정답|답변|답안|(?<!오)답|answer|(?:옳은|맞는|적절한|알맞은|틀린|옳지 않은"
    r"|적절하지 않은) ?(?:것|보기|설명|선택지)|고르(?:자면|면))"
    rf"\s*(?:번호|option|choice)?\s*(?:은|는|이|으로는|로는|is)?\s*(?:다음과 같습니다)?\s*[:=]?{_GIVEN}",
    re.IGNORECASE,
)
_IS_RIGHT = re.compile(
    r"(?P<given>\d{1,2})\s*번(?!도)(?:\s?[^\d\n.,]{1,20}?)??\s?[이가을를은는]?\s?(?:정답|답(?=입|이)|맞(?!지)|옳(?!지)|적절(?!하지)|알맞|선택|고르|고릅|골라|택)"
)
_LEADING = re.compile(rf"{_GIVEN}\s*(?:[)\].:](?!\d)|(?<=번)(?:입니다|이다|[.:\n]|\s))")
# A list of all options begins with the first of them and chooses none.
_ENUMERATION = re.compile(
    r"[(\[]?1[번.)\]][^\n]*(?:\n[^\n]*)??(?:(?<=\n)|(?<=\s))[ \t]*[(\[]?2[번.)\]](?![은는이가을를])"
)
_NUMBERED = re.compile(r"(?<![\d.,])(\d+)\s*번(?!째)")

# What an answer says of an option that it does not choose: 1번이 아니라, 2번은 오답, 처음에는 2번이라 생각했지만.
_MENTION = r"\(?\d{1,2}\)?(?:\s*번)?"
_DENIED = re.compile(
    rf"오답[은:]?\s?{_MENTION}|(?<![\d.]){_MENTION}(?:\s*(?:,|와|과|및"
    rf"|도 아니고)\s*{_MENTION}){{0,6}}(?:\s?[^\s\d.,!?\n]{{1,12}})??\s?(?:"
    r"[이가은는도]?\s?(?:정답[이은는도]?|답[이은는도])?\s?아(?:니(?!면|라면|요\?)|닌|닙|닐)"
    r"|[은는이가도을를]?\s?(?:모두\s)?(?:오답|제외|틀렸(?=[고으지])|틀리(?=[고며])"
    r"|탈락|답이 될 수 없|정답이 될 수 없|해당하지 않|해당되지 않)"
    r"|(?:이?라고|이?라|으?로|을|를|인|이)\s?(?:처음에(?:는)?\s?)?(?:착각|잘못|오해|헷갈|생각했"
    r"|생각하(?=기 쉽)|보았|봤|줄)|(?:이 ?정답)?처럼 보이지만|같지만|일 것 같지만)"
    r"[^\d\n①-⑳.]{0,14}?(?=[\s,.!?]|$)"
)
# After these words an answer begins anew: 정답은 1번. 다시 생각해 보니 3번.
_CORRECTION = re.compile(
    r"다시 (?:생각|계산|보니|확인|검토|풀)|정정|아니[,요.] |아닙니다[.,]|잘못 (?:생각|봤|보았)|수정(?:하|합)"
)


def option_count(prompt: str) -> int:
    """Return how many options the prompt numbers: the last run 1, 2, 3, ... of numbered lines; 0 without one."""
    for pattern in (_LINE_OPTION, _INLINE_OPTION):
        run = count = 0
        for match in pattern.finditer(prompt):
            number = int(match[1] or unicodedata.normalize("NFKC", match[2]))
            run = number if number in (1, run + 1) else 0
            count = run if run > 1 else count
        if count:
            return count
    return 0


def chosen_option(answer: str, options: int) -> int | None:
    r"""Return the option number that an answer gives, None where it gives none, or more than one.

    Looked for in this order, after what the answer denies (1번이 아니라, 2번은 오답) and what it takes back is left
    out: the last \boxed{3}, a first line of nothing but an option, the first `정답: 3`, `3번이 정답`, an option that
    the answer begins with, the only `3번`. ③, 세 번째 and the letter C are option 3. A number above the count of
    options is no answer; other numbers (2020년, 3.5%) are not looked at.
    """
    text = _spelled_alike(answer)
    for part in (*map(plain, boxed(text)[-1:]), *reversed(_CORRECTION.split(text)[1:]), text):
        number = _chosen(_DENIED.sub(" ", plain(part)).strip(), options)
        if number is not None:
            return number
    return None


def _chosen(text: str, options: int) -> int | None:
    leading = None if _ENUMERATION.match(text) else _LEADING.match(text)
    for match in (_ONLY.fullmatch(text.split("\n")[0]), _CUE.search(text), _IS_RIGHT.search(text), leading):
        if match:
            given = re.findall(r"\d+|[A-Ja-j]", match["given"])
            break
    else:
        given = sorted(set(_NUMBERED.findall(text)))
    numbers = {_number(one) for one in given}
    number = numbers.pop() if len(numbers) == 1 else 0
    return number if 1 <= number <= options else None


def _spelled_alike(answer: str) -> str:
    """Return the answer with every option that has a sign or a word of its own written as `3번`."""
    text = _KEYCAP.sub(r"\1번", cleaned(answer))
    text = _CIRCLED.sub(_circled_option, text)
    text = unicodedata.normalize("NFKC", text)
    text = _ORDINAL.sub(lambda found: f"{_ordinal(found)}번", text)
    return _NAMED.sub(lambda found: f" {_number(found[1])}번", text)


def _circled_option(found: re.Match[str]) -> str:
    """Return the option as `3번`, at the start of an answer with a full stop, unless more are named beside it."""
    alone = not _BESIDE.match(found.string, found.end())
    return f"{_circled(found[1])}번{'.' * (alone and not found.start())} "


def _circled(sign: str) -> int:
    return _CHINESE.index(sign) + 1 if sign in _CHINESE else int(unicodedata.numeric(sign))


def _ordinal(found: re.Match[str]) -> int:
    name = found["nth"] or found["native"] or found["sino"]
    return int(name) if name.isdigit() else _ORDINALS[name]


def _number(option: str) -> int:
    return int(option) if option.isdigit() else ord(option.upper()) - ord("A") + 1
