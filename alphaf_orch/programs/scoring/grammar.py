"""The grammar of figures in Korean finance texts: numerals, units, approximations, and words for falls and losses.

Sources, by the name that comments use:

- 맞춤법 44: 한글 맞춤법 제44항, numbers are spaced by 만 (`12억 3456만 7898`); 43: units may be joined to digits.
- 표기: 표준국어대사전, for which syllables are numerals and which words they also begin (만기, 조건, 경우).
- 회계: K-IFRS statements as filed in DART. `(단위: 백만원)` above a table or in a header; a negative amount is written
  (1,234), △1,234 or ▲1,234. Stock tables of the exchange use ▲ and ▼ for rise and fall; the word behind decides.
- 신문: usage of business papers: 3억5000 and 3억5천 for 350,000,000; 불 for 달러; 여, 남짓, 가량; 순유출, 역성장.
- SI: ‰ is 0.1%, ‱ 0.01%; 1 %p is 100 bp.
"""

from __future__ import annotations

import re
from decimal import Decimal

PLAIN = ""  # a number with no unit at all
OTHER = "?"  # a number that counts something no task asks for: 3년, 5개, 2024년, 3유로
UNITS = ("원", "달러", "%p", "%", "bp", "배", "회", "주", "일")

# --- numerals (맞춤법 44, 표기)

DIGITS = r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|(?<![\d.])\.\d+"
NAMES = dict(zip("영공일이삼사오육칠팔구", (0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9), strict=True))
SMALL = {"십": 10, "백": 100, "천": 1000}
BIG = {"만": 10**4, "억": 10**8, "조": 10**12, "경": 10**16}
ENGLISH = {"thousand": 10**3, "million": 10**6, "mn": 10**6, "billion": 10**9, "bn": 10**9, "trillion": 10**12}
LETTERS = {"K": 10**3, "M": 10**6, "B": 10**9}  # $1.2M
NATIVE = {"두": 2, "세": 3, "네": 4, "다섯": 5, "여섯": 6, "일곱": 7, "여덟": 8, "아홉": 9, "열": 10} | {"스무": 20}
# 3 만기, 2 조건 and the like are words, not scales.
SCALES = (
    r"십|백(?!분)|천(?!연|천)|만(?!기|큼|일|약|족)|억(?!제|압|울)|조(?!건|항|정|합|사|치|기|금|세|달|회|직|성)"
    r"|경(?!우|기|제|영|과|쟁|상|감|로)"
)
# 삼십이만 in Chinese characters: 三十二萬; 壹貳參 are the forms of cheques. 弗 is 불, 株 is 주.
HANJA = str.maketrans(
    "零〇一二三四五六七八九壹貳參拾十百千萬億兆圓弗倍株", "영영일이삼사오육칠팔구일이삼십십백천만억조원불배주"
)

# --- units

# In this order: %p before %, foreign money before ours. None of them begins one of the words in its (?!...).
_END = (
    r"(?![가-힣])|(?=화?(?:입|이|은|는|가|을|를|의|으|로|에|와|과|도|씩|짜|까|부|만|정|수|상|어|인|임|였|라|규|보|당))"
)
UNIT_WORDS = (
    (
        "%p",
        r"(?:%|퍼센트|프로)\s?-?(?:p(?:t|oints?)?(?![a-z])|포인트)|ppt?(?![a-z])|percentage\s+points?|퍼센티지\s?포인트",
    ),
    ("‱", r"‱"),
    ("‰", r"‰|퍼\s?밀(?![가-힣])|퍼밀"),
    ("%", r"%|퍼센트|프로(?!젝|그|필|세|모|토)|per\s?cent|pct(?![a-z])"),
    ("bp", r"bps?(?![a-z])|베이시스\s?포인트"),
    (
        OTHER,
        rf"(?:홍콩|호주|캐나다|싱가포르|대만|뉴질랜드|HK|NT|AU|CA)\s?(?:달러|\$|dollars?)|[€£¥円元]|(?:EUR|JPY|CNY|RMB|GBP|HKD|CHF)(?![a-z])"
        rf"|(?:유로|엔|위안|파운드|스위스\s?프랑|프랑|루피|루블|바트|페소|링깃|크로나|리라)(?:{_END})",
    ),
    ("원", r"원(?!칙|금)|KRW|won(?![a-z])|₩(?!\s?\d)"),
    ("달러", rf"(?:미국?|US|U\.S\.)?\s?(?:달러|dollars?)|미?불(?:{_END})|USD(?![a-z])|US\$|\$(?!\s?\d)"),
    ("배", r"배(?!당|율|수(?!준)|분|치)|곱절|갑절|(?<=[\d만])x(?![a-z0-9])(?!\s*\d)|times(?![a-z])"),
    ("회", r"회(?!사|차|계|장|원|수|복|의)|번(?!째|호)|차례(?!로)"),
    ("주", r"주(?!년|간|일|차|택|요|당|가|주|식|로)|shares?(?![a-z])"),
    ("일", r"일(?!반|정|부|시|본|차|자)|days?(?![a-z])"),
)
UNIT = re.compile("|".join(f" ?(?P<u{i}>{p})" for i, (_, p) in enumerate(UNIT_WORDS)), re.IGNORECASE)
# How many of the asked unit one of another is (SI); every unit not named here stands for itself alone.
CONVERTED = {
    "%": {"%": Decimal(1), "‰": Decimal("0.1"), "‱": Decimal("0.01")},
    "%p": {"%p": Decimal(1), "bp": Decimal("0.01")},
    "bp": {"bp": Decimal(1), "%p": Decimal(100)},
}
# 원 50전, 5달러 30센트.
CENTS = {
    "원": re.compile(r" ?(\d{1,2}) ?전(?=[^가-힣]|$|입|이|으|에|을|까|정)"),
    "달러": re.compile(r" ?(\d{1,2}) ?센트"),
}
CURRENCY_BEFORE = re.compile(
    r"(?:(?P<other>(?:HK|NT|AU|CA|[ACS])\$|[€£¥]|(?:EUR|JPY|CNY|RMB|GBP|HKD|CHF) ?)|(?P<dollar>US\$|\$|USD ?)"
    r"|(?P<won>₩|KRW ?)) ?$",
    re.IGNORECASE,
)

# --- unit labels: what a header or a bracket says of bare numbers (회계)

_MONEY = (
    r"(?:[십백천만억조]{1,3}|thousands?|millions?|billions?|bn|mn)? ?(?:원"
    r"|달러|불|USD|KRW|\$)|[십백천만억조]{1,3} ?(?:주|배)?"
)
LABEL = rf"(?:{_MONEY}|%p|%포인트|%|‰|bps?|배|주|일|회|퍼센트)"

# --- signs and directions

# A hyphen behind a letter, digit or bracket joins or subtracts; a triangle before an amount is the accounts' minus.
MINUS = re.compile(
    r"(?:(?<![\w%)\]])-|(?<=[:=])\s?- |(?:마이너스|음의?) ?\(-\)(?:의)? ?"
    r"|\(-\) ?|마이너스 ?|(?P<triangle>[△▲▼▽] ?)|↓ ?)"
    r"(?:약 ?|US(?=\$))?$"
)
# What may stand between a figure and the word that says what became of it; none of it changes a value.
APPROXIMATE = r"(?:가량|정도|쯤|안팎|내외|남짓|가까이|넘게|이상|이나|나|만큼|씩|수준|규모|상당|여|선|어치|약(?!세))"
LOSSES = (
    r"순손실|손실|적자|손해|결손|평가손(?!익)|처분손(?!익)|매각손(?!익)|(?<!당기)순손(?!익)|환차손|매매손(?!익)|순유출|유출|순매도|순상환"
    r"|역마진"
)
SHORTFALLS = r"부족|미달|모자라|모자란|모자랍|모자랐|모자람|하회|밑돌|밑도|못 ?미[치쳤친칩]|뒤[지졌진집]|미흡"
FALLS = (
    r"감소|하향|하락|축소|악화|급감|격감|급락|폭락|추락|반락|감익|감액|삭감|인하|절하|역성장|역신장|뒷걸음|후퇴|위축|줄[어었고며면]"
    r"|준(?= |다)|줄[인였]|줄(?=[ ])|내리|내려|내렸|내린|내림|떨어|낮[아았춰췄은다습]"
    r"|낮춘|빠[지져졌진]|깎[이여였인]|쪼그라|잃|까먹|날[렸려린]"
    r"|마이너스|이탈|약세|밀[렸리려린]|적[은습었]|작[은습았다]|덜 |[↓▼▽]"
)
RISES = (
    r"증가|상승|확대|급증|급등|폭증|오르|올라|올랐|오른|올린|올렸"
    r"|늘[어었고며면]|는(?=다)|늘[린렸]|커[지져졌진]|개선|호전|↑"
)
# Behind a loss that something is done about, it is one no more: 손실 30억원을 만회, 적자 30억원을 벗어나.
RELIEFS = r"만회|회복|해소|벗어|메우|메웠|메운|상쇄|면[하했한]|피[하했한]|막[았은아]|방어|보전|충당|개선"
DENIALS = r"지(?:는|도|를)? ?(?:않|못)|(?:[이가은는도] ?)?아[니닙닌닐](?!라면)|(?:[이가은는도] ?)?없|것[이은도] ?아"
