"""An OTLP/gRPC receiver by OpenTelemetry's own classes that prints how many spans it has, and which came twice.

    python receiver.py 127.0.0.1:14317
"""

import sys
import time
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services


class Receiver(services.TraceServiceServicer):
    def __init__(self):
        self.spans, self.ids = 0, set()

    def Export(self, request, context):
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans += 1
                    self.ids.add((span.trace_id, span.span_id))
        return messages.ExportTraceServiceResponse()


receiver = Receiver()
server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
services.add_TraceServiceServicer_to_server(receiver, server)
server.add_insecure_port(sys.argv[1])
server.start()
while True:
    time.sleep(1)
    print(f"spans={receiver.spans} twice={receiver.spans - len(receiver.ids)}", flush=True)
