# Switchboard in an image of nothing else: one static program, the authorities that
# browsers trust, and a folder for data. relay/GUIDE.md has how to run a relay from it.
#
#   docker build -t switchboard .
#   docker build -t switchboard --build-arg VERSION=v1.2.3 .

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X main.version=${VERSION}" -o /out/switchboard ./cmd/switchboard \
 && mkdir -p /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/switchboard /switchboard
COPY --from=build --chown=65532:65532 /out/data /var/lib/switchboard

# Nobody in particular. Ports below 1024 are open to it where the container's engine
# says so, as Docker does.
USER 65532:65532
ENV SWITCHBOARD_DATA_DIR=/var/lib/switchboard
WORKDIR /var/lib/switchboard
VOLUME /var/lib/switchboard

# Signaling; a relay over UDP, TCP and TLS. The relay ports, 49152-65535/udp, are left
# out: publishing so many starts a process for each. A relay is best with --network host.
EXPOSE 8080/tcp 3478/udp 3478/tcp 5349/tcp

# Alive, not ready: what waits for NATS, or drains, is not helped by being killed.
HEALTHCHECK --interval=10s --timeout=4s --start-period=10s CMD ["/switchboard", "health", "-alive"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/switchboard"]
CMD ["serve"]
