"""A web service that sends password-reset mail through one shared Mailer.

    pip install starlette uvicorn
    asyncmail serve
    MAIL_SERVER=smtp://localhost:2525 uvicorn examples.web_service:app
    curl -X POST 'localhost:8000/reset?to=ann@example.com'

The Mailer is made when the service starts and closed when it stops, after what was handed over has been sent. Requests
share its connections; a client that goes away cancels its request, and harms nobody else's message.
"""

import os
import secrets
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import asyncmail

TEMPLATE = asyncmail.Template(
    sender="Example <no-reply@example.com>",
    subject="Your new password",
    text="Open https://example.com/reset/{token} within an hour.\n",
    html='<p>Open <a href="https://example.com/reset/{token}">this page</a> within an hour.</p>',
)


@asynccontextmanager
async def lifespan(app):
    async with asyncmail.Mailer(os.environ["MAIL_SERVER"], connections=2, timeouts=10) as app.state.mailer:
        yield


async def reset_password(request):
    try:
        # In a list each item is one address; a text may hold several, and a stranger's would go to him too.
        to = [request.query_params.get("to", "")]
        parcel = TEMPLATE.render({"token": secrets.token_urlsafe()}, to=to)
        outcome = await request.app.state.mailer.send(parcel)
        outcome.raise_for_refusals()
    except asyncmail.InputError as error:
        return JSONResponse({"error": str(error)}, status_code=400)
    except asyncmail.MailError as error:
        # The user may try again if it is transient; if the outcome is unknown, the mail may still arrive.
        return JSONResponse({"error": str(error)}, status_code=503 if error.is_transient else 502)
    return JSONResponse({"sent": True})


app = Starlette(lifespan=lifespan, routes=[Route("/reset", reset_password, methods=["POST"])])
