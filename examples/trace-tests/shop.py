"""Two small services with stock OpenTelemetry instrumentation: `orders` asks `stock`, which asks SQLite.

python shop.py stock & python shop.py orders

FAULT=n_plus_one | swallow | slow | no_stock breaks them in a way that no status code shows.
"""

import os
import sqlite3
import sys
import time

import requests
from flask import Flask, jsonify, request
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

ROLE = sys.argv[1]
FAULT = os.environ.get("FAULT", "")
PORTS = {"orders": int(os.environ.get("ORDERS_PORT", 8081)), "stock": int(os.environ.get("STOCK_PORT", 8082))}
STOCK = f"http://127.0.0.1:{PORTS['stock']}"

provider = TracerProvider(resource=Resource.create({"service.name": ROLE, "service.version": "1.0.0"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=200))
trace.set_tracer_provider(provider)
RequestsInstrumentor().instrument()
SQLite3Instrumentor().instrument()
app = Flask(ROLE)
FlaskInstrumentor().instrument_app(app)


def database():
    connection = sqlite3.connect(":memory:")
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE stock (item TEXT, pieces INTEGER)")
    return connection, cursor


if ROLE == "orders":

    @app.post("/orders")
    def order():
        items = request.get_json()["items"]
        with trace.get_tracer("orders").start_as_current_span("place order") as span:
            span.set_attribute("app.order.id", f"o-{int(time.time() * 1000)}")
            span.add_event("received")
            if FAULT != "no_stock":
                answer = requests.post(f"{STOCK}/reserve", json={"items": items}, timeout=5)
                if answer.status_code >= 500 and FAULT != "swallow":
                    return jsonify(error="out of order"), 500
            span.add_event("confirmed")
            return jsonify(order=f"{len(items)} items")


if ROLE == "stock":

    @app.post("/reserve")
    def reserve():
        items = request.get_json()["items"]
        _, cursor = database()
        if "broken" in items:
            return jsonify(error="no such item"), 500
        if FAULT == "slow":
            time.sleep(0.3)
        if FAULT == "n_plus_one":
            for item in items:
                cursor.execute("SELECT pieces FROM stock WHERE item = ?", (item,))
        else:
            marks = ", ".join("?" for _ in items)
            cursor.execute(f"SELECT pieces FROM stock WHERE item IN ({marks})", items)
        return jsonify(reserved=len(items))


if __name__ == "__main__":
    app.run(port=PORTS[ROLE], threaded=True)
