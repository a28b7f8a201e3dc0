"""A short worked answer in each language that MathIF asks for, to find out what can be satisfied together."""

from __future__ import annotations

BOX = "<box>"

PROBES: dict[str, str] = {
    "en": f"First write down what is given and then combine the amounts. The final answer is {BOX}.",
    "bg": f"Първо записваме какво е дадено и след това събираме стойностите. Крайният отговор е {BOX}.",
    "bn": f"প্রথমে আমরা দেওয়া তথ্য লিখি এবং তারপর পরিমাণগুলি যোগ করি। চূড়ান্ত উত্তর হল {BOX}।",
    "de": f"Zuerst schreiben wir auf was gegeben ist und dann addieren wir die Mengen. Die Lösung ist {BOX}.",
    "es": f"Primero escribimos los datos y después sumamos las cantidades. La respuesta es {BOX}.",
    "he": f"תחילה נרשום את הנתונים של השאלה ולאחר מכן נחבר את הכמויות. התשובה הסופית היא {BOX}.",
    "it": f"Prima scriviamo i dati del problema e poi sommiamo le quantità. La risposta finale è {BOX}.",
    "ja": f"まず与えられた数を書き出し、次にそれらを足します。最終的な答えは {BOX} です。",
    "kn": f"ಮೊದಲು ಕೊಟ್ಟಿರುವುದನ್ನು ಬರೆಯೋಣ ನಂತರ ಮೊತ್ತಗಳನ್ನು ಕೂಡಿಸೋಣ. ಅಂತಿಮ ಉತ್ತರ {BOX}.",
    "mr": f"प्रथम आपण दिलेली माहिती लिहू आणि नंतर त्या संख्यांची बेरीज करू. अंतिम उत्तर {BOX} आहे.",
    "ne": f"पहिले हामी दिइएको कुरा लेख्छौं र त्यसपछि ती संख्याहरू जोड्छौं। अन्तिम उत्तर {BOX} हो।",
    "pa": f"ਪਹਿਲਾਂ ਅਸੀਂ ਦਿੱਤੀ ਗਈ ਜਾਣਕਾਰੀ ਲਿਖਦੇ ਹਾਂ ਅਤੇ ਫਿਰ ਰਕਮਾਂ ਜੋੜਦੇ ਹਾਂ। ਅੰਤਿਮ ਜਵਾਬ {BOX} ਹੈ।",
    "pt": f"Primeiro escrevemos os dados e depois somamos as quantidades. A resposta final é {BOX}.",
    "ru": f"Сначала запишем что дано в задаче и затем сложим эти величины. Окончательный ответ {BOX}.",
    "sw": f"Kwanza tunaandika kile tulichopewa na kisha tunajumlisha kiasi hicho. Jibu la mwisho ni {BOX}.",
    "ta": f"முதலில் கொடுக்கப்பட்டதை எழுதுவோம் பிறகு அந்த அளவுகளைக் கூட்டுவோம். இறுதி விடை {BOX}.",
    "th": f"เราเขียนสิ่งที่โจทย์กำหนดให้ แล้วจึงบวกจำนวนเหล่านั้นเข้าด้วยกัน คำตอบสุดท้ายคือ {BOX}",
    "vi": f"Trước tiên chúng ta viết ra dữ kiện và sau đó cộng các số lại. Đáp án cuối cùng là {BOX}.",
}


def probe_answer(language: str, gold: str) -> str | None:
    """Return the answer in ``language`` (ISO 639-1) with ``gold`` boxed, or ``None`` where there is none."""
    text = PROBES.get(language)
    return None if text is None else text.replace(BOX, f"\\boxed{{{gold}}}")
