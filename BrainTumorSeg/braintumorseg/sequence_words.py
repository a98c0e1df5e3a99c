"""The words of an MR series' description that mean something to us, in the languages that scanners are run in.

A description may hold anything, a patient's name too. What comes out are tags of the fixed vocabulary below and nothing else,
so they can be shown.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

__all__ = ["OTHER_KINDS", "TECHNIQUES", "WEIGHTINGS", "Words", "read_words"]

# Tag -> the words for it. A word may end in * for anything that begins so. All are compared without case and accents.
WEIGHTINGS = {
    "t1": "t1 t1w t1wi t1n",
    "t2": "t2 t2w t2wi",
    "flair": "flair flairs tirm* darkfluid fla t2f флэр флаир флейр",
    "pd": "pd pdw dp dpw protondensity proton densidad rho",
}
TECHNIQUES = {
    "mprage": "mprage mprages mprag mp2rage memprage tfl",
    "spgr": "spgr fspgr efspgr irfspgr irspgr bravo mpbravo",
    "tfe": "tfe irtfe quick3d qk3d",
    "vibe": "vibe lava thrive starvibe",
    "flash": "flash fl2d fl3d",
    "ffe": "ffe gre ge gradient grad eg fe ffe2d ffe3d gre2d gre3d efgre",
    "space": "space spc cube vista brainview view mvox isofse xeta",
    "tse": "tse fse frfse ffse tseir ssfse ssh haste fase sse turbo propeller blade multivane jet radar",
    "se": "se spinecho csepi",
    "fs": "fs fatsat fatsuppressed spir spair sting dixon ideal lipoquant fatsup chess sat we",
}
# What is an MR image and not one of ours: tag -> (reason, words).
_KINDS = {
    "localizer": ("localizer", "localiz* localis* lokali* lokaliz* scout* aahscout aahead survey* pilot tripilot topogram loc locator scanogram "
                               "smartbrain reperage uebersicht ubersicht 3plane 3pl planscan локал* топограмма обзор*"),
    "calibration": ("calibration", "calibr* kalibr* cal shim* fieldmap b0map b1map refscan sensecal coilsurvey mapcal prescan калибр*"),
    "diffusion": ("diffusion", "dwi dti diff diffus* difus* dyfuz* difuz* dwibs adc eadc dadc exadc trace tracew colfa fa resolve tensor* dki "
                               "hardi ivim "
                               "noddi tractograph* traktograph* дифф* дви икд dw dwig"),
    "perfusion": ("perfusion", "perf perfus* perfuz* dsc dce pwi cbf cbv rcbf rcbv mtt ttp tmax ktrans dyn dynam* dinam* "
                               "permeab* grasp перф*"),
    "asl": ("perfusion (ASL)", "asl pcasl pasl tasl"),
    "angiography": ("angiography", "tof mra mrv ceangio cemra angio* mrangio* angiograph* venog* veno* phlebo* flebo* pca pc phasecontrast "
                                   "inhance tricks "
                                   "twist trak 4dtrak ангио* fsbb"),
    "spectroscopy": ("spectroscopy", "mrs mrsi csi svs spectro* espectro* spettro* spektro* probe spectra svpress спектро*"),
    "functional": ("functional (BOLD)", "bold fmri rsfmri resting restingstate task fmrt"),
    "susceptibility": ("susceptibility (T2*)", "swi swan swip swimag venbold hemo haemo hemoflash medic merge suscept* suszept* qsm t2star "
                                               "sw svi"),
    "steady": ("steady-state or heavily T2-weighted", "ciss fiesta bffe btfe trufi truefisp ssfp bssfp dess balanced cistern* hydro* drive3d "
                                                      "fiestac"),
    "dir": ("double inversion recovery", "dir"),
    "stir": ("short inversion time (STIR)", "stir"),
    "map": ("parameter map or synthetic image", "map maps mapping t1map t2map inv1 inv2 symri synthetic magic mdme mapit quantmap relaxom* mtr "
                                                "mwf mtsat"),
    "phase": ("phase image", "pha filtpha"),
    "projection": ("projection (MIP)", "mip mips minip projection proj"),
    "reformat": ("reformatted (MPR)", "reformat* reform* rfmt refor mprrange mprs reconst* rekon* ricostr*"),
    "subtraction": ("subtraction", "sub subtr* substr* soustr* sottr* subtrakt* resta субтр* вычит*"),
    "report": ("report or screenshot", "report* posdisp phoenix* phoenixzip screen* snapshot capture* evidence summary dose examdata bericht befund"),
    "body": ("another part of the body", "spine cspine tspine lspine spinal lumbar lumb* lws hws bws wirbel* rachis lombaire cervical* colonna "
                                         "columna "
                                         "coluna neck hals knee shoulder abdomen liver breast prostate pelvis позвон*"),
}
OTHER_KINDS = {tag: reason for tag, (reason, _) in _KINDS.items()} | {"pd": "proton density"}
_CONTRAST = {
    # A contrast agent; the words before it decide whether it was given.
    "agent": "gd gad gado gadolin* gadoter* gadobut* gadov* gadoben* gadodi* gadopen* gadopik* gdt gddtpa dtpa dotarem magnevist gadovist "
             "multihance prohance omniscan clariscan dotagraf elucirem vueway "
             "mdc ce km "
             "kontrast* kontrasc* contr contrast* cont ctr inj inject* iniett* inyec* injet* enh enhanced enhancement kontrastli ку "
             "контраст* усил* ilacli opacif*",
    "after": "post pos apres dopo nach depois despues tras sonrasi после poscontrast* postcontrast* postgd postgad* postkm postinj* delayed "
             "enhancedt1",
    "before": "pre vor avant antes prima przed voor oncesi до precontrast* pregd pregad* prekm",
    "without": "without wo ohne kein sans sin sem senza zonder bez без uden utan ilman",
    "not": "no non not nie non",
    "native": "native nativ nativa nativo natif native* натив* nativn* unenhanced noncontrast* nonenhanced plain simples basal basale blanco vierge "
              "kontrastsiz ilacsiz noncon nongd noncecontrast kontrastlos bezkontrast*",
    "t1 given": "t1c t1ce t1gd t1km t1pc",
}
_FILLERS = ("ax axi axial sag sagittal cor coronal tra trans transv transversal obl oblique iso isotropic3d 2d 3d hr hires high res p2 p3 w wi "
            "weighted "
            "gewichtet gew brain head cerebrum kopf schadel encephale cranio crane cerebro encefalo craneo glowa mozg beyin мозг wip mit with "
            "avec con com "
            "met ns sel mpr fast rapid thin dl deep air")
# After 'post' or 'pre' these speak of a treatment, not of contrast; after 'without' of fat saturation.
_TREATMENT = ("op ops operation surgery surgical resection treatment therapy rt radiation bestrahlung chir chirurgie chemo tmz biopsy "
              "biopsie stereo stealth crt intervention sat saturation scan pulse processing proc")
_NOT_CONTRAST = ("fs fat fatsat sat spir spair mt mtc flow comp fc grad phase wrap npw sense asset parallel")

# Scripts that put no blanks between words: looked for anywhere; the longer ones come first.
_ANYWHERE = (
    ("血管造影", " angio "), ("血管", " angio "),
    *((word, " native ") for word in ("未增强", "未增強", "增强前", "增強前", "非增强", "造影前", "非造影", "無造影")),
    *((word, " native ") for word in ("平扫", "平掃", "単純", "조영전", "비조영")),
    *((word, " gd ") for word in ("增强", "增強", "造影", "强化", "強化", "조영")),
    ("定位", " localizer "), ("位置決", " localizer "),
    *((word, " dwi ") for word in ("扩散", "弥散", "擴散", "瀰散", "拡散", "확산")),
    *((word, " perfusion ") for word in ("灌注", "灌流", "관류")),
    *((word, " mrs ") for word in ("波谱", "波譜", "スペクトロ")),
    *((word, " sub ") for word in ("减影", "減影", "差分", "サブトラクション")),
    *((word, " flair ") for word in ("水抑制", "压水", "壓水", "フレア")),
    *((word, " fs ") for word in ("脂肪抑制", "压脂", "抑脂", "脂抑")),
    ("磁敏感", " swi "),
)
_UNSPACED = re.compile("[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff]+")  # the rest of such a text
# What must be understood before the text is cut into words.
_PHRASES = tuple((re.compile(pattern), words) for pattern, words in (
    (r"т(?=[12](?!\d))", "t"),                                            # Cyrillic Т1 looks like Latin T1
    (r"t2 ?\*|t2 ?star", " t2star "),
    (r"phase ?contrast|kontrastna faza|contraste de fase|contraste de phase", " phasecontrast "),
    (r"dark[ -]?fluid|dark[ -]?fl(?![a-z])|(?<![a-z])da[ -]?fl(?![a-z])|dunkle flussigkeit", " darkfluid "),
    (r"(?<![a-z0-9])b ?(?:0|50|\d{3,4})(?![0-9a-z])", " dwi "),
    (r"average dc|avg dc|isotropic image", " adc "), (r"fractional aniso\w*", " fa "), (r"ref(?:erence)? scan|pre scan", " refscan "),
    (r"(?:3|three|drei|tri|trois|tres|tre)[ -]?pla?ne?(?![a-z])", " localizer "),
    (r"field ?map|b[01] ?map|coil ?cal|coil ?surv\w*|gre field", " fieldmap "), (r"ven bold", " swi "), (r"resting ?state", " fmri "),
    (r"^fat ?:|(?:out|opp)\w*[ -]?(?:of[ -]?)?phase|opp(?![a-z])", " map "),  # of a Dixon: not the image that shows water
    (r"proton ?dens\w*|densite ?(?:de )?proton\w*|dens(?:ite|idad|ita) protonic\w*", " pd "),
    (r"(?<![a-z])m[ -]?p[ -]?rage", " mprage "), (r"(?<![a-z])double inv\w*", " dir "),
    (r"true ?fisp", " trufi "), (r"fat ?sat\w*|fat ?supp?\w*|sat ?fat", " fs "), (r"spin ?ech?o", " se "),
    (r"(?<![a-z])echo ?(?:de )?gradient\w*|gradient ?echo", " gre "),
    # with and without: the whole examination is meant
    (r"(?<![a-z])w ?/? ?(?:and|&|\+|/)? ?w ?/ ?o(?![a-z])|(?<![a-z])w ?/? ?(?:and|&|\+|/) ?wo(?![a-z])|(?<![a-z])wwo(?![a-z])", " both "),
    (r"\+ ?/ ?-|- ?/ ?\+", " both "),
    (r"(?<![^\W\d_])(?:with|mit|avec|con|com|met|с|z|pre|vor|sin|sans|ohne|sem|senza|до) ?(?:and|und|et|y|e|en|и|i|&|/|\+) ?"
     r"(?:without|ohne|sans|sin|sem|senza|zonder|без|bez|post|nach|con|avec|mit|com|после)(?![a-z])", " both "),
    (r"(?<![a-z])w ?/ ?o(?![a-z])", " without "), (r"(?<![a-z])w ?/", " with "),
    (r"(?<![a-z])c ?/ ?c(?![a-z])", " gd "), (r"(?<![a-z])s ?/ ?c(?![a-z])", " native "),
    (r"(?<![a-z])s ?/ ?(?=gd|gad|contr|cont(?![a-z])|mdc|inj)", " without "), (r"(?<![a-z])c ?/ ?(?=gd|gad|contr|cont(?![a-z])|mdc|inj)", " with "),
    (r"m\.? ?d\.? ?c\.?(?![a-z])", " mdc "), (r"k\. ?m\.?(?![a-z])", " km "),
    (r"\+ ?(?:c|ce|gd|k|km|g|gad\w*|contr\w*)(?![a-z])|(?<![a-z])(?:c|k|gd|ce|km) ?\+", " gd "),
    (r"(?:(?<= )|^)-(?:c|gd|km|k)(?![a-z])|(?<![a-z-])c ?-(?= |$)", " native "),
))

# How a text says in short whether contrast was given.
CONTRAST_MARKS = {"yes": "+c", "no": "-c", "both": "+/-c"}


@dataclass(frozen=True)
class Words:
    """What a text says: tags of WEIGHTINGS, TECHNIQUES and OTHER_KINDS; contrast 'yes', 'no', 'both' (an examination with and
    without, so nothing about one series) or ''; mpr where 'mpr' stands, which is short for MPRAGE and for a reformatted image."""

    weightings: frozenset[str] = frozenset()
    techniques: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    contrast: str = ""
    mpr: bool = False

    @property
    def shown(self) -> str:
        """'t1 mprage +c': tags only, in the vocabulary's order; '' when nothing was understood."""
        tags = [*(tag for tag in WEIGHTINGS if tag in self.weightings), *(tag for tag in TECHNIQUES if tag in self.techniques),
                *(tag for tag in OTHER_KINDS if tag in self.kinds - self.weightings), *(["mpr"] if self.mpr else []),
                *([CONTRAST_MARKS[self.contrast]] if self.contrast else [])]
        return " ".join(tags)

    def beyond(self, other: Words) -> list[str]:
        """Words of the vocabulary that say what this says and `other` does not, contrast aside."""
        tags = [tag for mine, theirs in ((self.weightings, other.weightings), (self.techniques, other.techniques), (self.kinds, other.kinds))
                for tag in sorted(mine - theirs)]
        return [*map(_word_of, tags), *(["mpr"] if self.mpr and not other.mpr else [])]


def read_words(text: str) -> Words:
    """The tags that a description or a protocol name holds; none for ''."""
    tokens = _tokens(text)
    tags = {_MEANING[token] for token in tokens if token in _MEANING}
    kinds = {tag for group, tag in tags if group == "kind"}
    if "sub" in tokens and all(after.isdigit() for before, after in zip(tokens, [*tokens[1:], ""]) if before == "sub"):  # noqa: B905
        kinds.discard("subtraction")  # 'sub-01' is a subject
    weightings = {tag for group, tag in tags if group == "weighting"} | ({"t1"} if ("contrast", "t1 given") in tags else set())
    return Words(frozenset(weightings), frozenset(tag for group, tag in tags if group == "technique"),
                 frozenset(kinds), _contrast(tokens), "mpr" in tokens)


def _contrast(tokens: list[str]) -> str:
    said, negated = set(), False
    for place, token in enumerate(tokens):
        group, tag = _MEANING.get(token, ("", ""))
        tag = tag if group == "contrast" else ""
        following = [*tokens[place + 1:place + 3], ""]
        if token == "both":
            return "both"
        if tag in ("after", "before") and following[0] not in _TREATMENT.split():
            said.add("yes" if tag == "after" else "no")
            negated = tag == "before"
        elif (tag == "without" and following[0] not in _NOT_CONTRAST.split()) or (tag == "not" and any(_is_agent(one) for one in following)):
            said.add("no")
            negated = True
        elif tag == "native":
            said.add("no")
        elif tag == "t1 given" or (tag == "agent" and not negated):
            said.add("yes")
        elif tag == "agent":
            negated = False  # this agent is the one that was not given
    return "both" if len(said) > 1 else next(iter(said), "")


def _word_of(tag: str) -> str:
    """A word that is read as `tag`: the tag itself, or the first that is listed for it."""
    known = _known(tag)
    return tag if known and _MEANING[known][1] == tag else next(word for word, meaning in _MEANING.items() if meaning[1] == tag)


def _is_agent(token: str) -> bool:
    return _MEANING.get(token) == ("contrast", "agent")


def _tokens(text: str) -> list[str]:
    """Words of the vocabulary and the others, in order: 'AxT1FSE+C_p2' -> ['ax', 't1', 'fse', 'gd', 'p2']."""
    text = _plain(re.sub(r"[^\W\d_]+", lambda found: _unhumped(found[0]), text).replace("_", " "))
    for word, meaning in _ANYWHERE:
        text = text.replace(_plain(word), meaning)
    text = _UNSPACED.sub(" ", text)
    for pattern, words in _PHRASES:
        text = pattern.sub(words, text)
    return [part for token in re.findall(r"[^\W_]+", text) for part in _parts(token)]


def _unhumped(word: str) -> str:
    """'AxPost' -> 'Ax Post', but 'pCASL' is one word."""
    return word if _known(_plain(word)) else re.sub(r"(?<=[a-z])(?=[A-Z])", " ", word)


def _parts(token: str) -> list[str]:
    """A known word as it is, the words that fill a run-together one ('t1fsepost'), the token itself when neither; stems by their stem."""
    whole = _known(token)
    if whole:
        return [whole]
    ways: list[list[str] | None] = [[]] + [None] * len(token)
    for end in range(1, len(token) + 1):
        for start in range(end):  # from the longest word on
            if ways[start] is not None and token[start:end] in _VOCABULARY:
                ways[end] = [*ways[start], token[start:end]]
                break
    found = ways[-1] or []
    return found if any(_says_much(part) for part in found) else [token]


def _says_much(word: str) -> bool:
    """Run-together words are taken apart only around one of these: 'phase' is not 'pha' and 'se'."""
    return _MEANING.get(word, ("", ""))[0] == "weighting" or (word in _MEANING and len(word) > 4)


def _known(token: str) -> str:
    if token in _VOCABULARY:
        return token
    return next((stem for stem in _STEMS if token.startswith(stem)), "")


def _plain(text: str) -> str:
    """Lower case without accents: 'Après' -> 'apres'."""
    text = unicodedata.normalize("NFKD", text.casefold().replace("ı", "i").replace("ł", "l").replace("ø", "o"))
    return "".join(letter for letter in text if not unicodedata.combining(letter))


def _read_tables() -> dict[str, tuple[str, str]]:
    groups = {"weighting": WEIGHTINGS, "technique": TECHNIQUES, "kind": {tag: words for tag, (_, words) in _KINDS.items()}, "contrast": _CONTRAST}
    return {_plain(word): (group, tag) for group, table in groups.items() for tag, words in table.items() for word in words.split()}


_ALL = _read_tables()
_MEANING = {word.rstrip("*"): meaning for word, meaning in _ALL.items()}
_STEMS = tuple(sorted((word[:-1] for word in _ALL if word.endswith("*")), key=len, reverse=True))
_VOCABULARY = frozenset(word for word in _ALL if not word.endswith("*")) | frozenset(_plain(word) for word in _FILLERS.split())
