"""What a notice in words says became of the mail, in the languages that servers write."""

import pytest

from bounced import parse
from bounced.model import Kind

# never delivered: the words of a success, and a word that turns them round
NOT_DELIVERED = (
    "Ihre Nachricht wurde nicht zugestellt.",
    "Die Nachricht wurde an den Empfänger nicht zugestellt.",
    "Die E-Mail wurde dem Empfänger leider nicht zugestellt.",
    "Vaše zpráva nebyla doručena.",
    "Zpráva nebyla úspěšně doručena.",
    "Sua mensagem nao foi entregue.",
    "A mensagem n?o foi entregue.",
    "Votre message n'a pas été remis.",
    "Votre message n a pas ete remis.",
    "Le message n'a été remis à aucun destinataire.",
    "El mensaje no ha sido entregado.",
    "Il messaggio non è stato consegnato.",
    "Il messaggio non e' stato consegnato.",
    "Uw bericht is niet bezorgd.",
    "Het bericht is helaas niet succesvol bezorgd.",
    "Wiadomość nie została dostarczona.",
    "Wiadomość nie zostala dostarczona.",
    "Письмо не было успешно доставлено.",
    "メールは配信されませんでした。",
    "邮件未成功投递。",
    "邮件没有成功送达。",
    "郵件未能成功送達",
    "메일이 성공적으로 전달되지 않았습니다.",
    "Meddelandet levererades inte.",
    "Din mail er ikke leveret.",
    "E-posten er ikke levert.",
    "Viestiä ei ole toimitettu.",
    "A levél nem lett sikeresen kézbesítve.",
    "İleti başarıyla teslim edilemedi.",
    "Thư chưa được gửi thành công.",
    "Thư không đã được gửi đến",
    "Pesan tidak berhasil dikirim.",
    "Το μήνυμα δεν παραδόθηκε με επιτυχία.",
    "Лист не було успішно доставлено.",
    "لم يتم التسليم بنجاح",
    "Your message was not successfully delivered.",
    "Your message has not been delivered to the recipient.",
    "Delivery was unsuccessful.",
    "None of your message was delivered to the recipient",
    "Your message was never delivered to the recipient.",
    "The message could be delivered to nobody",
)

# given up after days
GIVEN_UP = (
    "Ihre Nachricht konnte 5 Tage lang nicht zugestellt werden. Es werden keine weiteren Versuche unternommen.",
    "Trotz mehrerer Versuche wurde die Nachricht bisher nicht zugestellt; die Zustellung wird nun aufgegeben.",
    "Votre message n'a pas pu être remis pendant 5 jours. Aucune autre tentative ne sera effectuée.",
    "El mensaje no se pudo entregar durante 5 días. No se harán más intentos.",
    "Il messaggio non è stato consegnato per 5 giorni. Non verranno effettuati altri tentativi.",
    "A mensagem não foi entregue durante 5 dias. Não haverá novas tentativas.",
    "Het bericht kon 5 dagen niet worden bezorgd. Er worden geen verdere pogingen gedaan.",
    "Wiadomość nie mogła zostać dostarczona przez 5 dni. Dalsze próby nie będą podejmowane.",
    "Письмо не удалось доставить в течение 5 дней. Дальнейшие попытки предприниматься не будут.",
    "Meddelandet kunde inte levereras på 5 dagar. Inga fler försök görs.",
    "Meddelelsen kunne ikke leveres i 5 dage. Der gøres ikke flere forsøg.",
    "Zprávu se nepodařilo doručit po dobu 5 dnů. Další pokusy nebudou provedeny.",
    "Az üzenetet 5 napig nem sikerült kézbesíteni. Több próbálkozás nem lesz.",
    "İleti 5 gün boyunca teslim edilemedi. Başka deneme yapılmayacak.",
    "邮件在5天内未能投递，系统不再尝试投递。",
    "5日間配送を試みましたが、配信できませんでした。これ以上の再送は行いません。",
    "5일 동안 전송을 시도했으나 실패했습니다. 더 이상 시도하지 않습니다.",
    "Your message could not be delivered for 5 days. No further attempts will be made.",
    "We have been trying to deliver your message for 3 days without success and will not try again.",
    "Your message was delayed in our queue for 72 hours and has now been returned.",
)

# not yet
DELAYED = (
    "Die Zustellung Ihrer Nachricht verzögert sich. Wir versuchen es weiter.",
    "Ihre Nachricht konnte bisher nicht zugestellt werden. Weitere Zustellversuche folgen.",
    "Votre message n'a pas encore été remis. D'autres tentatives seront effectuées pendant 4 jours.",
    "Su mensaje aún no se ha entregado. Se seguirá intentando durante 4 días.",
    "Il messaggio non è ancora stato consegnato. Verranno effettuati altri tentativi.",
    "A mensagem ainda não foi entregue. Novas tentativas serão feitas.",
    "Uw bericht is nog niet bezorgd. Er worden nog pogingen gedaan.",
    "Wiadomość nie została jeszcze dostarczona. Serwer ponowi próbę.",
    "Письмо ещё не доставлено. Попытки доставки будут продолжены.",
    "Meddelandet har ännu inte levererats. Nya försök kommer att göras.",
    "Meddelelsen er endnu ikke leveret. Der forsøges igen.",
    "Meldingen er ennå ikke levert. Serveren prøver igjen.",
    "Viestiä ei ole vielä toimitettu. Yritämme uudelleen.",
    "Zpráva zatím nebyla doručena. Server se o doručení pokusí znovu.",
    "Az üzenetet még nem sikerült kézbesíteni. A kiszolgáló tovább próbálkozik.",
    "Mesajul nu a fost încă livrat. Serverul va încerca din nou.",
    "İleti henüz teslim edilemedi. Sunucu denemeye devam edecek.",
    "Το μήνυμα δεν έχει παραδοθεί ακόμη. Ο διακομιστής θα συνεχίσει τις προσπάθειες.",
    "邮件尚未投递成功，系统将继续重试。",
    "メールはまだ配信されていません。引き続き配信を試みます。",
    "메일이 아직 전달되지 않았습니다. 계속 시도할 예정입니다.",
    "Лист ще не доставлено. Сервер повторить спробу.",
    "Your message has not been delivered yet. We will keep trying for 3 more days.",
    "This is only a warning: your message is still waiting in the queue and delivery will be tried again.",
    "The mail is being delayed. You need not send it again.",
)

DELIVERED = (
    "Ihre Nachricht wurde erfolgreich zugestellt.",
    "Votre message a bien été remis.",
    "Su mensaje se ha entregado correctamente.",
    "El mensaje fue entregado con éxito.",
    "Il messaggio è stato consegnato.",
    "A mensagem foi entregue com sucesso.",
    "Uw bericht is succesvol afgeleverd.",
    "Wiadomość została dostarczona.",
    "Письмо успешно доставлено.",
    "Meddelandet levererades.",
    "Meddelelsen er leveret.",
    "Meldingen er levert.",
    "Viesti on toimitettu.",
    "Zpráva byla úspěšně doručena.",
    "Az üzenet sikeresen kézbesítve.",
    "Mesajul a fost livrat cu succes.",
    "İleti başarıyla teslim edildi.",
    "Το μήνυμα παραδόθηκε με επιτυχία.",
    "邮件已成功投递。",
    "メールは配信されました。",
    "메일이 성공적으로 전달되었습니다.",
    "Your message was successfully delivered.",
    "The mail has been delivered to the mailbox.",
)
SAID = [
    *((Kind.BOUNCE, text) for text in (*NOT_DELIVERED, *GIVEN_UP)),
    *((Kind.DELAY, text) for text in DELAYED),
    *((Kind.DELIVERY, text) for text in DELIVERED),
]


@pytest.mark.parametrize(("kind", "text"), SAID)
def test_what_became_of_a_mail_is_told_in_whatever_language(kind: Kind, text: str) -> None:
    for subject in ("Mail status", "Your mail"):
        letter = (
            "Return-Path: <>\nFrom: Mail System <mailer-daemon@mx.example.com>\n"
            f"To: news@example.org\nSubject: {subject}\n"
            "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
            f"{text}\n\nanna@reader.example.com\n"
        )
        report = parse(letter.encode()).report
        assert report.kind is kind
        assert [r.address for r in report.recipients] == ["anna@reader.example.com"]
