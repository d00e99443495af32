"""Bodies that are CSV files. Imports FastAPI."""

from fastapi import HTTPException, Request


async def read_csv(request: Request) -> bytes:
    """Return the file in the body, within the bounds of its route.

    Raises:
        HTTPException: 415, the body is not declared as text/csv.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "text/csv":
        raise HTTPException(415)
    return await request.body()
