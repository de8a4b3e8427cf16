# Sends a mail with Python's own client.
import smtplib

try:
    with smtplib.SMTP("server.apps", 2525, timeout=20) as mail:
        print(mail.sendmail("a@apps", ["b@apps"], "Subject: hi\r\n\r\n" + "line\r\n" * 10000))
except (smtplib.SMTPException, OSError) as error:
    print(type(error).__name__, error)
