"""Sentences as NLTK's English Punkt counts them (Kiss and Strunk 2006): IFEval's ``compat`` count, in linear time.

The steps are those of NLTK 3.10.4: find what may end a sentence, cut its surroundings into tokens, decide by
abbreviations, collocations, sentence starters and the case of the next word, then move closing quotes and brackets to
the sentence before them. How each word was written in the text that Punkt was trained on is known here of common words
only, so a verdict can differ where a rare word with a capital follows an abbreviation, an initial or an ellipsis.

Source and licence: the tables hold single words of the English model in NLTK's data package ``punkt_tab``, which Jan
Strunk and Tibor Kiss trained on some 469,000 tokens of the Wall Street Journal in the Penn Treebank (LDC): its
abbreviations, collocations and sentence starters, and of common words in which case it has met them. NLTK's code is
under the Apache License 2.0; the README of the data package names the corpora of its models, and no licence of its own.
No text of the corpus is here.
"""

from __future__ import annotations

import re
from itertools import pairwise

_MODEL = """
jan feb aug sept sep oct nov dec tues wed fri
ala ariz calif colo conn fla ga ill kan ky mich minn nev okla ore pa tenn va vt wash wis
u.s u.k u.n u.s.a u.s.s.r d.c n.j n.y n.c n.d n.h n.m r.i s.c l.a w.va st ave ft mg yr
mr mrs ms dr prof sen rep reps gen col lt maj adm messrs jr sr ph.d
co corp inc ltd bros cie cos s.a s.p.a n.v b.v a.g a.s ct vs ok chg sw
a.m p.m a.m.e p.a.m m.b.a c.i.t c.o.m.b s.a.y m.d.c i.m.s
a.a a.c a.d a.h a.t b.f c.v d.h d.w e.f e.h e.l e.m f.g f.j g.d g.f g.k h.c h.f h.m j.b j.c j.j j.k j.p j.r l.f
l.p m.j r.a r.j r.k r.h r.t s.g s.s t.j w.c w.r w.w
c d e f g h k l m n p r s t v w
"""
PUNKT_ABBREVIATIONS: frozenset[str] = frozenset(_MODEL.split())
"""What Punkt's English model takes as abbreviations, without the last period; ``e.g``, ``i.e`` and ``etc`` are not."""

_SENTENCE_STARTERS = """
most he since so both these it nevertheless this indeed however instead under similarly some though while when in
despite although nonetheless thus there if the nor separately moreover but they yet many according sales among meanwhile
even i
"""
SENTENCE_STARTERS: frozenset[str] = frozenset(_SENTENCE_STARTERS.split())
"""Words with a capital that begin a sentence after an abbreviation or an ellipsis, whatever else is known of them."""

_AFTER_NUMBERS = """
international commodities insider credit corrections financing business leisure dividend review abreast who letters
notable
"""
AFTER_NUMBERS: frozenset[str] = frozenset(_AFTER_NUMBERS.split())
"""Words before which the period of a number ends no sentence: the collocations of Punkt's model."""

_LOWER = """
abandon abandoned abilities able above absence absolutely absorb academic accept acceptance accessible accidents
accounted accuracy accurate accurately achieve achieved achievements achieving acknowledge actions active actively ad
adapt adaptation adapted adapting adding addition address addressing adds adjacent adjust adjusted adjustments adoption
adult adults advancement advancing advantage adventure advertised advice advocates aesthetic affected affecting
affordable afternoon afterward agencies ahead aim aimed aims ain album aligned alive alleviate allies allocated allow
allowed allowing allows almost along already alternative alternatives altogether always ambition amount amounts analysis
analyzed ancestors ancient anew angle angry animal animals animated animation annual anomalies anonymous answers
anticipation anyone anything apartheid apparent appealing appear application applications applied apply applying
appointments appreciate appreciated appreciation approach approaches appropriate approximately architect architecture
arena argue argument arguments aria arrange arrangements array arrival arrive article articles artificial artist
artistic ask asked asking aspect aspects assert assessments assigned assist assisted associate assuming assure
astonishing ate atmosphere attack attacks attempts attending attention attraction audience audiences audio author
authors automatically automotive autonomous autonomy available awake awards aware awareness awe ax bachelor backdrop
backup bag bags baked balanced balloon balls balm band barely barriers bars basic basics basket battery battles beaches
beans beat beautifully became become becoming bed beds begin beginnings behavior behind behold being beings belief
believe believed believes belong bench benched beneath beneficial benefit beta better between beyond bias bids
biological biology birds birth bit bite bits blend blur boards bodies body bold bomb bond bone bonus bore bottle bottles
bounce bound boundaries bout box boxes boy boys braces brackets brain branch branches brand breach bread break breaking
breakthroughs breast breath breed breeders breeding breeds brew briefly bright brilliant bringing brings brink broader
broken brother bubbles budgets build built burn burning bus businesses butter bygone calculate calculated calculating
calculations call calm came camera cancel candidate cannot capabilities capable caps capture captured captures car
carbon careful carrots carry carrying cast casting catalog caught cause caused causing cease celebrate cell cells
centered cents centuries certainly chair challenge challenged challenges challenging champs chance chaos character
characterized characters charge charging charm cheapest check checking cheese cherished chess choice choices choose
chooses choosing chorus chosen cinematic circuits circumstances circus claim clandestine clarity classes classical
cleaning clever client climate climb climber clock clones closest clothes clothing cloud cluster coherence coins cold
collaborate collaborated collaboration colleagues collect collected collecting collective colorful colors column combat
combination combinations combine combined combining comedy comfort comfortable commitment committed communicate compact
compare compared comparing compelling competing competitive complete completed completely completing complexities
complexity compliance component components composed composition compounded compression concerns concise conclude
conclusion concrete condition conditioning conditions conduct conducted conducting confident conflict conflicts confront
conjuring connected connecting connection connections conscious consecutive consensus consequences consider considerable
consideration considerations considered considering consistency consistently conspiracy constant constantly constitutes
constraints constructed consult consumption contact contain contains contemplating contemporary content context
continued continuing continuous continuously contractor contrast contribute contributed contributing contributions
convenience convenient conversation convert convey convince cookies cooking cool coordinate cope copy copyright core
cornerstone corporation correct correctly correlation corresponding cost counted counts coupled courage course covered
cows craft cream create created creates creating creation creator creature creatures credible criminals criteria critic
criticize critics critique crowd crowded cuisine cultural cure curiosity curious currently customer cutting cycle cycles
damn danced dancing danger dangerous dangers daring dark dash dashed database date daughter daunting dawn deadlines
deadly debate debates decade decay decide decides decisions dedicated deductions deep deeper deepest deeply default
define defined defining definition degree degrees delicious delight deliver delivers delivery delves demands demonstrate
demonstrated demonstrates demonstrating dense departed depend depending depends deployment depth depths derived
descended describe described description designed designers designing designs desire desk despair destroy detail
detailed details detection determination determine determined develop developed developers developing developments
devised devising diagram dialogue diaper diapers dice didn die diet differ difference differences different difficult
difficulties dig dignity dimes dinners direct directed direction directions directly dirt disability discipline
discounted discover discovered discovery discrimination discuss discussed discussion discussions disguise dish disk
disorder disorders display displays disposal disrupt disrupted dissemination distance distant distinct distribute dive
diverse divided dividing document documentation does doesn dogs doing dollars domination donate done door dose dot
double doubt downtown dozen draft drama draw drawing drawn draws dress dressed drink drinks driven drove durable dying
dynamic eager earliest early earn easier easily eating echoes echoing economies edge edible editing educate educators
effective effectively effects efficiency efficient efficiently eight either elaborate elections element elementary
elements eligible eliminate else embrace embraced embracing emerged emergence emerging emissions emotional emotions
empathy emphasis empire employ employee employers employing empty enable enabling encounter encountered encourage
encouragement encourages encouraging endeavor endless endure enduring engage engaged engagement engaging engineer
engineers enhance enhanced enhancing enjoy enjoyed enjoying enough enriching ensure ensures ensuring entangled enter
entire entirely entities entitled entity entrance environment environments episode equal equality equals equation
equipped equivalent era errors escalating escape especially essay essence essential establish established establishment
estimated et etc etched ethical evaluate evaluating evaluation event ever everyday evidence evident evil evolve evolved
evolving exacerbating exact exactly examination examine examines examining example examples exceeds excellence excellent
except exceptional excessive excited exciting excused execution exercise exhibitions exist existence existing exists
expand expanding expansion expense expenses expensive experience experienced experiences experiencing experiment
experimental experiments expert expertise experts expired explain explaining explanation explicitly exploitation explore
explored exploring explosions exponent exposed exposure expressed expression expressions extent external extinction
extra extravagant extreme extremely eye eyes fabric fabrication fabrics faced facilitating facing fact factor factory
fairly faith fake falling fame familiar familiarity families famous fan fans fantastic fascinating fashion faster fat
fate favorite fear fears feature features feedback feeling feels feet fellow felt female fetch fewer fiber fierce figure
figures file files fill filled fills final finale finally findings finish fish fit fits fix fixed flavor flavors fled
fleeting flesh flexibility flexible flight flood floor flourished flower flowers flowing fly focused focuses focusing
fold follow followed following follows foot forbidden forces forever forget formal formally format formed formula
forward fosters founders founding fraction framed framework fraught fray frequent friction friend friendly friendship
fruits fuels fully functions fundamental funny furthermore gained gaining gallon gather gathered gathering gave gender
generate generated generating generations generator generous gentle giant gift girl girls given gives giving glasses
gleaming glimpse global glory goals goes going golf goose governance governments gown grab graduated grasping grateful
gravity greater greatest greatly grew grid grievance grocery ground growing grown guarantee guardian guess guests
guidance guided guides guiding guitar guy habits hair hamburgers handle hands happening happy harm harnessing heal
healthy hear hearing heartbeat hearts heaven heavily heavy height helping helps hence her here hero heroes herself
hesitate hide highest highlight highlights highly hike hiking him himself hiring historians historical hitting hold
holds holocaust homework honest hop hoping horizon hormone horror host hosts hot hour hours houses hull humanity humans
humming humor hunting hurry hustle hybrid idea ideal identical identity ignore illustration image imagery images
imagination imagine imaging immediate immediately immune imperative impetus implement implementation implemented
implementing implications implies import importance important importantly impossible impression improve improved
improvement improvements improving incessant inch inches include included including inclusion incorporate incorporating
increased incremental indeed independence independent independently indicates individual individuals infected influence
influenced influencing inform informed infringement inhabitants inherent initial initially inner innovation innovative
input inside insight insights inspired install installation instance instances instead instructions instrumental
integrate integrated integrating integration integrity intellectual intelligent interact interested interesting
interests interfere interior internationally interplay interpretation interpretations intervention interventions
interviews into intricate introduced introduces introducing intuitively invaluable invented inventor invest investigate
investigating investing invite invites involve involves isn isolation item items jeans jewelry joke journey jubilant
jungle junior justly keen keeps kept kid kids kill killed kitchen knew knock knot knowledge known laboratory lack
lacking lacks ladder laid landing landmarks lanes language languages laptop largely larger lasting laughed layout le
leaders leadership leading leads leap learn learned learns least led legally legislation lemonade length lessons lethal
lets letters leverage libraries lie lies lightning lights likes limerick limitation limitations linear lion list listen
listening lists literature lived lives living localized located location locations logical logo longest looked looking
lose lot loud loved loves loyal lunch luxury lyrics madness magical magnetic magnitude mainstream maintain maintained
maintaining majestic majority makeup maladies male malevolent manage managed manager manages managing manipulation
manner manufacturer marked marketplace marking marvels massive mastered match math mathematical mathematically
mathematics mature maturity maximize maximum meal meals mean meaning meaningful measures mechanical mechanics mechanism
medieval medium meetings meets member memorable mental mention mentioned merchant mere merely message meters method
methodology metric mid mighty miles milestone milk millions mind minds minimal minimize minimized minimizing minimum
minus minute missed missing mistakes misunderstandings mix mobile modeling modernization mom moment moments monitoring
monthly months mood moon moral moreover morning mornings mother motivated motivation motivations motives moved movements
multiple multiples multiply musicians myriad myself mysteries mysterious narrative native naturally nature nearby
necessarily necessary necessity neck need needed needing needs negative negatively neighborhood neighbors neither neon
nervous networks neurological neutral neutrons newsletter newspaper nickname nights nobility noise non nor norm notation
notations notch note nothing noticed notices noting notion notorious novel number numbering numbers numerical numerous
object objective objectives objects oblivious obscure observation observe observed obtain occasion occasional
occasionally occupied occur occurred occurs ocean odd odds offender officer okay older ones ongoing onto opened opening
opens operate operates operator opinions opportunities opportunity opposite ordered ordinary organizational
organizations organized organizer oriented origin original originally origins otherwise ounce outcome outdoor outer
outgoing ovarian overall overdue overtime overwhelming owe owner paced pack packed packs page pages paid pain paint
painted paintings pair parade paragraphs parallel parenting parking parks partial participants participate participated
particle particles particular particularly partner pass passage passed passing passion password pastime path paths
patient patients patterns pause pays peaceful peak peculiar penetration per perceive perceived percent percentage
perception perfect perfectly perform performance performances performed performing perils periodic periods permanent
person personal personalities personality phase phenomenon philosophy phone photography photos phrase phrases physical
pick picking piece pieces pill pinch pipeline pitch placebo places plane planes planet plasma platform platforms play
played player playing plays please plenty plethora plight plot plugging points pole political politics pool poorly pop
popularity portion portrait portrayal poses position positive positively possess possibilities possibility possibly
potato potential potentially pound pounds powerful powers practical practice practicing praise prayer precious precision
predatory predict predictions prefer preferences premium preparation prepare prepared prescription presence present
presented preserve preserved preserving pressed pressures prestigious prevalence prevalent prevent preventing previous
previously pride primarily prince principle priority private probably problem problems process processes processing
processor producing product productive productivity professionals professor profile profound program programming
projection projections projects proliferation promise promises promising promoted promoting promotion prompt prompted
proof proper properly proportional proposed prospect prosperity protect protected protective protein proud prove proven
provide provided provides proving provoking prowess proximity psychological psychologists psychology publication
published pull pulled pulling pumped punishment purchased purchases pure purity purposes pursue pursued pursuit pushed
pushing put putting puzzles qualifications qualified quandary quantity question questioning questions quo quotation
quotes racing radial radical rain ran range ranging rapid rapidly rating ratio rational rationale raw reaches reaching
reactions reader readers readily reads realistic realities reality realize realized rearranging reasoning receive
received recent recently reception recipe recipient recognition recognize recognized recommendation recommended
recurrence recycle reduced reduction refer referred refers refined reflect reflected reflecting reflection reflects
refrain regarding regardless regards region regional regions regret regrets regular regularly regulations rejection
relationship relationships relative relatively relax relaxation relaxing released relentless relevant reliability
reliable relic relief religion religious rely remain remainder remained remaining remarkable remarks remember reminder
remove rendered renowned rent repairs repeated repeating repeats replacing replica replied reply represent
representation representations representatives represented representing represents reputation requested require
requirements requires requiring researchers resentment residents resignation resilience resolution respect respected
respectively respite respond response responses responsibilities responsible restaurant restaurants restoration restore
restrictions rests result resulting results retain retention returned reveal revealed revelation reverse revolutionary
reward rewards rhythm riddles rides riding right rigid rigorous rings rising robust rocks rode roles roll rolled rooms
rooted roots roses round routes routine rows rubric runs rural rush safe safeguard sailboat sailing sailors salad same
sample sanctuary sand sandwich sat satisfaction satisfy saved saves saving savvy saw scale scaling scattered scenario
scene scenes schedule scientist score scored script scrutiny se season seasons seconds secrets section sections secure
seed seeds seeing seem seemed seems segments selected selecting selling semester send sends sense sent sentence
sentiment sentiments separate separated serve served serves serving session sessions setbacks setting settings setup
seven severe shade shadow shape shaped shapes shared sharing shelf shell shelter shelves shift shifting shifts shine
shirt shirts shoes shore shorts shot showing shown sight signals significance significant significantly silence similar
similarities similarly simple simplest simplifying simply simultaneously sin sincerely sine sing single sister sit sits
sitting situations size skepticism skies skill skilled skills skin slices slight slow slowly smaller smallest smell
smile smooth smoothly snaps sneakers snow so soap soar societal societies soda sodium soil solar soldiers solid solution
solutions solve solving someone sometimes somewhat son songs soon soul souls sounds source sovereignty spaces spacious
spark speak specialized specialty species specific specifically specifications spectacular spectrum speculative speed
speeds spell spend spending spent sphere spin spirit splits spoken spots spread spreading spun spurred squares stability
stable stage stages stand standing stands started starting statement statue status staying steadfast steady steal step
sticks still stood stopped stopping storage stories straightforward strange strangers streamline streets strength
strengthen strengths stress stressful strict stride strides stringent striving structure structured structures struggles
stuck stunning style stylish subjects substitute substituting subtle subtracting subway success successful successfully
succession successor such sudden suddenly suffer suffering sufficient sugary suggest suggesting suggests suitable sum
summit sums sunbathing sung supported supporting supports suppose surely surface surprise surrender surrounding surveys
survival survivor sustainable sway swelling swift swim swimming swing sword symbolic symbols symptoms synthetic tackle
tactics tailored taking tale talent talents tall tank targeted targeting targets task taste tattered taught taxable tea
teach teacher teaching team teams technological teen teens telling temperature temperatures ten tend tension tensions
term terms territory testing text thank thanks them themes themselves theoretical theory therapeutic therapies therapy
thereby therefore thermal thick things think thinking thorough thoroughly though thought thoughts threat threatened
threatening threatens threats threshold thrive through throughout throw thus tick tight tilt timing tiny tip tips tired
tirelessly tires title together tomatoes tone tonic took torture totals tournament towards towers towing toxic trace
tradition traditional traditions tragic trail train trained transfer transformation transformed transforming transition
translate translates translation trapped traveling travels treat treating treatment treatments treats trees trend trick
tried tries triple trips triumph trivial tropical true truly trusts truth try trying tubes tubing tune turn turned
turning turns twins twist type typical typically ultimate ultimately unable unaware uncertainty unclear uncomfortable
uncover und underline underlying underscores understand understandable understood unending unexpected unfinished
unfolding unfolds unfortunately uniform unique unity universities unknown unlike unlikely unnecessary unprecedented
unravel unraveling unrestricted unsatisfactory unseen updated updates uphold upon upward urgent us user uses using
vacation valid valuable values vanilla variable variation varied variety various vary vast vastness ve veggies vehicle
vending vendors verdict version versions versus very vibrant videos viewing villain violate violated virtual vision
visions visiting visual void volumes von vowing vulnerability vulnerable wage wait waiting walk walked walking walks
walls wander wanted wants warfare warm warmth waste watched watching wave waves wealth weapons wear weather web weekend
weeks weigh weight weights welcome welfare went were wet whether which whirring whisper whole whom wide widespread wife
willing willingness win window winds wisdom wisely wish witches withheld within without witness wonderful wondering
wonders wool words worked working workings workplace worst wrapped writer writing written ya yes yesterday yet yielding
yields younger your yourself youth zany zero zone zoo
"""
ORDINARY: frozenset[str] = frozenset(_LOWER.split())
"""Common words that the model knows in lower case, and with a capital at the start of sentences only."""

_LOWER_AND_NAMES = """
a ability about absolute access account accounts across act action activities activity actually add added additional
advanced affect after again against age agency agriculture air airport all alone also alter am among an and another
answer any appeal appears appliances are area areas arms army around art artists arts as assistance associated at atom
atomic attempt attract average avoid away baby back background bad balance ball bank banks bar base based basketball
battle bay be beach bear beautiful beauty because becomes been before began beginning begins below benefits best big
bill bills biotechnology black block blue bob book books boom boost boots born boss both bottom bought brief bring broad
brought budget building buildings business but buy buying buys by cafe called calls can cancer candy capacity capital
cards care career cars case cases cash cat catch ceiling center centers central century certain certified chain change
changed changes changing chapter charges chemical chicken child children china chips chocolate church cited cities
citizens city civil class classic clean clear clearing clearly clients close closed closely closer club code coffee
collection college color combines come comes coming commerce commission committee common communities community companies
company complex comprehensive computer concept concern confidence conservation construction continue continues control
cooperation coordinating costs cotton could council count countries country court cover covert crime crisis critical
cross crown crucial culture cup current customers cut dad daily dance data day days de dean death debt decided decision
defense delicate demand democracy department der desert design despite development device devices did digital dinner
discount discussing disease distribution district division do dog dollar don down dream dreams drive drives driving due
during each earned earth east easy eat economic economy education educational effect effort efforts electric electronic
employees en end ended ending ends energy engineering entertainment environmental ethics even evening events every
everyone everything exchange expect expectations expected exploration express extension extensive face factors fair fall
falls false family far farm farmer fast father feed feel feelings few field fields fifth fight fighting film financial
find finding finds fine fire firm first five flow focus food for force foreign forest forgotten form forms foster found
foundation four fourth free freedom fresh friends from front fruit full fun function fund further future gain game games
garden gas gear general generally generation genetic get gets getting giants give glass globe go goal god gold golden
good goods got government grace graduation grand graphics gray great green group groups grow grows growth guard guide
had half hand hard hardware harmony has have haven having he head health heard heart heat held help heritage hey hidden
high higher his history hit home homes hope hopes hotel house housing how however hub human hunt ice ideas identify if
impact in includes income increase increases increasing increasingly indicate industrial industries industry information
initiative intelligence interest internal international interview introduce introduction investigation investment
involved involving is island issue issues it its itself job jobs join just justice keep keeping key kind king know
knowing knows la lake land landscape lane large largest last late later latest law laws lead leader league learning
leave leaves leaving left legal lengths less let letter level levels life light like likely limit limited line lines
link little live local long longer look looks loss lost love lower loyalty machine machinery machines made magic main
maintains major make makes making man management many march marine mark market marketing markets marks mass master
material materials matter may maybe me means meanwhile measure media medical medicine meet meeting members memorial
memories memory men met methods middle might mile military minor minutes mirror miss mission mixed model models modern
money month more most mostly motion mountain mountains move movement movie moving much museum music must my mystery name
named names nation national nations natural network never new news next night nine no normal north northern not notes
notice novels now nuclear of off offer offering offerings offers office often old on once one only open operating
operation operations option options or order orders organization other others our out outline outlook output outside
over own owners packaging palace paper parents park part parts party past pattern pay paying peace people perhaps period
perspective pet photo physics picks picture pizza place plan planning plans plants players plus point police policies
policy pollution poor popular population possible post power practices president press pressure price primary prime
principles printing prize produce production products professional profit progress project promote properties property
proposal propose protection providing public purchase purpose push quality quarter queen quest quick quickly quiet quite
race raise raises raising random rare rate rather re reach read reading ready real really reasons record records red
redemption reduce reducing refund register related remains renaissance request research resistance resolve resource
resources responsibility rest resume return review revolution rich ride rights ring rise risk risks rival road role room
rose row rule rules run running rust safety said salary sale sales salt satellite save say saying says scheme school
schools science scientific scientists sea search seat seats second secret sector security see seek seeking seemingly
seen sell sells series serious service services set sets several shaping share sharp she shoe shop shopping shops short
should show shows side sides sign signs silent since singing situation six sleep slide small smart social society soft
software sold some something song sophisticated sought sound sources south space speaker special sports spring springs
square standards star stars start starts state states stay steel steps stock stone stop store storm story straight
strategic strategies strategy street strong stronger struggle student students studies study stuff subject suit summary
summer sun supplies supply support sure surge surplus sweet symbol system systems table take taken takes tales talk
target tasks tax taxes teachers teamwork tears tech technical techniques technologies technology teeth tell tells tennis
test than that the theater their theme then theories there these they thing third this those three tickets time times
tire to today told too tool tools top topic total touch tough tour tower town toy toys track trade traffic training
transportation travel tree trends trial trip truck trust twice two types uncle under understanding union unit united
units universal universe university until up upgrade upper urban use used users usually value vehicles victims video
view viewers views visit vital voice volume vote voting wake wall want war wars was watch water way ways we week weighs
well west what when where while white who whose why wild will wind windows wins winter wire with woman women won wonder
wood word work works world worlds worldwide worry worth would write wrote year years yield you young
"""
NAME_LIKE: frozenset[str] = frozenset(_LOWER_AND_NAMES.split())
"""Common words that the model knows in lower case, and with a capital inside sentences too, as parts of names."""

_LONGEST = 1 + max(map(len, PUNKT_ABBREVIATIONS))
_SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_RUN_ENDS = " \n\t\r\v\f"
_RUN_END = re.compile(f"[{_RUN_ENDS}]")
_CLOSING = "\"')\\]}\u2018\u2019\u201c\u201d\xab\xbb"
_ENDS_WORD = _CLOSING + "(:;*@{\\[?!"
_CANDIDATE = re.compile(rf"[.?!](?=([{_ENDS_WORD}])|[{_SPACE}]+([^{_SPACE}]+))")
_SIGNS = rf"-{{2,}}|\.{{2,}}|(?:\.[{_SPACE}]){{2,}}\."
_TOKEN = re.compile(
    rf"{_SIGNS}|[^(\"`{{\[:;&#*@)}}\]\-,{_SPACE}][^{_SPACE}]*?"
    rf"(?=[{_SPACE}{_ENDS_WORD}]|$|{_SIGNS}|,(?:$|[{_SPACE}{_ENDS_WORD}]|{_SIGNS}))|[^{_SPACE}]"
)
_NUMBER = re.compile(r"-?[.,]?\d[\d,.-]*")
_INITIAL = re.compile(r"[^\W\d]\.")
_CLOSERS = re.compile(rf"[{_CLOSING}]+?(?:[{_SPACE}]+|(?=--)|$)", re.MULTILINE)


def sentence_count(text: str) -> int:
    """Count the sentences of ``text``."""
    return len(sentences(text))


def sentences(text: str) -> list[str]:
    """Return the sentences of ``text``, each with the closing quotes and brackets that belong to it.

    A mark may end a sentence where closing punctuation, a further mark or white space and a word follow. Of such marks
    in one run of characters the last one counts, and one that opens the run.
    """
    text = text.rstrip()
    starts, ends = [0], []
    mark, last = None, 0
    for following in (*_CANDIDATE.finditer(text), None):
        if mark is not None:
            at, spaced = mark.start(), mark.start(2) >= 0
            opens = at == 0 or (at > 1 and text[at - 1] in _RUN_ENDS)
            if opens or following is None or _RUN_END.search(text, at, following.start()):
                if text[at] != "." or (spaced and _plain_word(text, at, last)) or _breaks(text, last, mark):
                    ends.append(at + 1)
                    starts.append(mark.start(2) if spaced else at + 1)
                last = at
        mark = following
    ends.append(len(text))

    # Closing quotes and brackets at the start of a sentence belong to the one before it.
    found, moved = list[str](), 0
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        closers = _CLOSERS.match(text, starts[i + 1], ends[i + 1]) if i + 1 < len(starts) else None
        if closers is not None or start + moved < end:
            found.append(text[start + moved : end] + ("" if closers is None else closers[0].strip()))
        moved = closers.end() - starts[i + 1] if closers is not None else 0
    return found


def _plain_word(text: str, at: int, last: int) -> bool:
    """Whether the full stop at ``at`` follows a word of letters that abbreviates nothing: it ends a sentence."""
    if not text[at - 1 : at].isalpha():
        return False
    word = text[max(last, at - _LONGEST) : at].split()[-1]
    return len(word) > 1 and word.isalpha() and word.lower() not in PUNKT_ABBREVIATIONS


def _breaks(text: str, last: int, mark: re.Match[str]) -> bool:
    """Whether the full stop ``mark`` ends a sentence, by the tokens from the start of its run to the next word.

    ``last`` is where the mark before it stands; the run starts there or later.
    """
    begin = 1 + max(text.rfind(space, last, mark.start()) for space in _RUN_ENDS)
    context = text[max(begin, last) : max(mark.end(1), mark.end(2))]
    tokens = [token for line in context.split("\n") for token in _TOKEN.findall(line)]
    return any(_ends_sentence(token, following) for token, following in pairwise(tokens))


def _ends_sentence(token: str, following: str) -> bool:
    """Whether ``token`` ends a sentence where ``following`` comes next."""
    if token in (".", "?", "!"):
        return True
    if not token.endswith("."):
        return False
    dots = token.endswith("..")
    ellipsis = dots and not token.strip(".")
    abbreviation = not dots and _abbreviates(token[:-1].lower())
    initial = _INITIAL.fullmatch(token) is not None
    number = _NUMBER.fullmatch(token) is not None
    upper, word = following[0].isupper(), following.lower()
    if len(word) > 1 and word.endswith(".") and not word.endswith("..") and not _abbreviates(word[:-1]):
        word = word[:-1]
    if number and word in AFTER_NUMBERS:
        return False
    if (abbreviation or ellipsis) and not initial:
        return upper and (word in ORDINARY or word in SENTENCE_STARTERS)
    if (initial or number) and (following[0].islower() or following in (";", ":", ",", ".", "!", "?")):
        return False
    if initial and upper and word not in ORDINARY and word not in NAME_LIKE:
        return False
    return not (dots or abbreviation)


def _abbreviates(word: str) -> bool:
    return word in PUNKT_ABBREVIATIONS or word.rpartition("-")[2] in PUNKT_ABBREVIATIONS
