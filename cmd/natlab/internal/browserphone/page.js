// What the program has its browser do, on the page of a server: it is evaluated there,
// and calls the program's binding natlabSay with JSON: {moment}, {path}, {began}, {view} and {ended}.
globalThis.natlab = (() => {
  'use strict'
  const POLL = 100 // ms
  const SOUND_EVERY = 20 // ms, from one packet of Opus to the next
  // Calls between strangers keep to relays until the answer, and look for a better path then: the
  // path is the call's own when it has not changed for a while, which it is given at most so long.
  const [SETTLED, SETTLES] = [1500, 5000] // ms
  const SILENCE = 500 // ms without a packet, from which on it is told

  const say = (what) => globalThis.natlabSay(JSON.stringify(what))
  const clock = () => performance.timeOrigin + performance.now() // ms since 1970
  const moment = (what, at = clock()) => say({ moment: { at_ms: at, what } })
  const ns = (ms) => Math.max(0, Math.round(ms * 1e6))

  let sdk, client, call, options, store
  let closing = false

  // ------------------------------------------------------------- connections

  /** All that were made for the call: the SDK may make a second before the answer. */
  const connections = []
  const Native = globalThis.RTCPeerConnection

  /** Leaves those servers that are reached by the transport that is to be tried. */
  function narrow(config) {
    const only = options?.transport
    if (!only || !config?.iceServers) return config
    const iceServers = config.iceServers
      .map((s) => ({ ...s, urls: [s.urls].flat().filter((u) => !u.startsWith('turn') || transportOf(u) === only) }))
      .filter((s) => s.urls.length > 0)
    return { ...config, iceServers }
  }

  const transportOf = (url) => url.startsWith('turns:') ? 'tls' : /[?&]transport=tcp\b/.test(url) ? 'tcp' : 'udp'

  globalThis.RTCPeerConnection = class RTCPeerConnection extends Native {
    constructor(config) {
      super(narrow(config))
      connections.push(this)
      watch(this, connections.length)
    }

    setConfiguration(config) { super.setConfiguration(narrow(config)) }
  }

  // -------------------------------------------------------------- what is seen

  const seen = {
    candidates: new Map(), kinds: new Set(),
    pairs: new Set(), tried: new Set(), pair: '', pairAt: 0,
    streams: new Map(), sent: 0, received: 0, lost: 0, frames: 0,
    sound: null, firstSound: 0, gap: 0, gapAt: 0, silent: false,
    roundTrip: 0, ufrags: new Map(), restarts: 0,
    selected: { local: '', remote: '' },
    answered: 0, connected: null, firstMedia: null, began: false,
  }

  // Events have brackets around IPv6 addresses, statistics have none.
  const address = (host, port) => host ? `${/^[^[].*:/.test(host) ? `[${host}]` : host}:${port}` : ''

  /** @param {number} n the connection's number; ids of statistics are its own */
  function watch(pc, n) {
    pc.addEventListener('icecandidate', ({ candidate: c }) => {
      if (c?.candidate) found({ type: c.type, host: c.address, port: c.port, protocol: c.protocol, relay: c.relayProtocol, base: address(c.relatedAddress, c.relatedPort) })
    })
    pc.addEventListener('icecandidateerror', (e) => {
      const key = `error ${e.url} ${e.errorCode}`
      if (seen.kinds.has(key) || seen.kinds.size > 100) return
      seen.kinds.add(key)
      moment(`no candidate from ${e.url}: ${e.errorCode} ${e.errorText}`)
    })
    pc.addEventListener('connectionstatechange', () => {
      const state = pc.connectionState
      if (state === 'connected') {
        seen.connected ??= clock()
        moment('connected')
      } else if (state === 'disconnected' || state === 'failed') moment(`media ${state}`)
    })
    let before = pc.signalingState
    pc.addEventListener('signalingstatechange', () => {
      const own = before === 'have-local-offer'
      before = pc.signalingState
      if (before !== 'stable') return
      const ufrag = pc.currentLocalDescription?.sdp.match(/^a=ice-ufrag:(\S+)/m)?.[1]
      const last = seen.ufrags.get(n)
      if (!ufrag || ufrag === last) return
      seen.ufrags.set(n, ufrag)
      if (!last) return
      if (own) seen.restarts++
      moment(`ICE restarted by ${own ? 'this' : 'the other'} side`)
    })
    pc.addEventListener('track', ({ track }) => {
      // Something must take what comes, for it to be decoded in any case.
      const e = document.createElement(track.kind)
      Object.assign(e, { autoplay: true, muted: true, srcObject: new MediaStream([track]) })
      document.body?.append(e)
    })
    let reading = false
    const timer = setInterval(async () => {
      if (pc.connectionState === 'closed') return clearInterval(timer)
      if (reading) return
      reading = true
      try {
        read(n, await pc.getStats())
      } catch { /* it was closed meanwhile */ } finally {
        reading = false
      }
    }, POLL)
  }

  function found({ type, host, port, protocol, relay, base }) {
    if (!type || !host || type === 'relay' && !relay) return // statistics tell of the relay
    const c = { type, address: address(host, port), protocol: (protocol || 'udp').toLowerCase() }
    if (base && !base.startsWith('0.0.0.0') && !base.startsWith('[::]')) c.base = base
    if (type === 'relay' && relay) c.relay = relay.toLowerCase()
    const key = `${c.type} ${c.address} ${c.protocol}`
    const before = seen.candidates.get(key)
    if (!before && seen.candidates.size >= 200) return
    seen.candidates.set(key, { ...before, ...c })
    const kind = `${c.type}${c.relay ? `(${c.relay})` : ''}/${c.protocol}`
    if (seen.kinds.has(kind)) return
    seen.kinds.add(kind)
    moment(`candidate ${kind} at ${c.address}`)
  }

  /** How much a counter has grown, which begins anew now and then. */
  function grown(id, s) {
    const now = { packets: s.packetsReceived ?? s.packetsSent ?? 0, lost: Math.max(0, s.packetsLost || 0), frames: s.framesDecoded || 0 }
    const before = seen.streams.get(id)
    seen.streams.set(id, now)
    const anew = !before || now.packets < before.packets
    const more = (what) => anew ? now[what] : Math.max(0, now[what] - before[what])
    return { packets: more('packets'), lost: more('lost'), frames: more('frames') }
  }

  function read(n, report) {
    let selected = ''
    for (const s of report.values()) {
      const id = `${n} ${s.id}`
      switch (s.type) {
        case 'local-candidate':
          found({ type: s.candidateType, host: s.address, port: s.port, protocol: s.protocol, relay: s.relayProtocol, base: address(s.relatedAddress, s.relatedPort) })
          break
        case 'candidate-pair':
          seen.pairs.add(id)
          if (s.requestsSent > 0) seen.tried.add(id)
          break
        case 'transport':
          if (s.selectedCandidatePairId) selected = s.selectedCandidatePairId
          break
        case 'outbound-rtp':
          seen.sent += grown(id, s).packets
          break
        case 'inbound-rtp': {
          const more = grown(id, s)
          seen.received += more.packets
          seen.lost += more.lost
          if (s.kind === 'audio') heard(s, more.packets)
          if (more.frames && !seen.frames) moment('first picture decoded')
          seen.frames += more.frames
          break
        }
      }
    }
    const pair = report.get(selected)
    if (pair) onPath(report, pair)
    if (!seen.began && seen.answered && seen.sound && pair && (clock() - seen.pairAt > SETTLED || clock() - seen.firstSound > SETTLES)) {
      seen.began = true
      say({ began: side() })
    }
  }

  /** Takes note of the pair that carries the media. */
  function onPath(report, pair) {
    const [local, remote] = [report.get(pair.localCandidateId), report.get(pair.remoteCandidateId)]
    const path = sdk.pathOf(report)
    if (!local || !remote || !path) return
    seen.selected = {
      local: path.local, remote: path.remote,
      ...(path.relay && { relay: path.relay }), ...(path.server && { server: path.server }),
      local_address: address(local.address, local.port), remote_address: address(remote.address, remote.port),
    }
    if (pair.currentRoundTripTime) seen.roundTrip = pair.currentRoundTripTime * 1000
    const words = `path ${path.local}${path.relay ? `(${path.relay})` : ''} ${seen.selected.local_address} to ${path.remote} ${seen.selected.remote_address}`
    if (words === seen.pair) return
    seen.pair = words
    seen.pairAt = clock()
    moment(words)
    say({ path: { at_ms: clock(), ...seen.selected } })
  }

  /**
   * Takes note of sound. A gap is what is left of the time between two readings' last
   * packets when the others of them have had theirs, and any time that a reading itself
   * sees none; a page that did not get to run makes none of it.
   */
  function heard(s, packets) {
    const at = s.lastPacketReceivedTimestamp || (packets ? s.timestamp : seen.sound)
    if (!at || !s.packetsReceived) return
    if (seen.sound === null) {
      seen.firstSound = at
      moment('first sound', at)
    } else {
      const gap = Math.max(s.timestamp - at, packets > 0 ? at - seen.sound - (packets - 1) * SOUND_EVERY : 0)
      if (call?.state !== 'ended' && gap > seen.gap) [seen.gap, seen.gapAt] = [gap, s.timestamp - at < gap ? seen.sound : at]
    }
    const quiet = s.timestamp - at
    if (quiet >= SILENCE && !seen.silent) {
      seen.silent = true
      moment('no more sound', at)
    } else if (packets > 0 && seen.silent) {
      seen.silent = false
      moment('sound is back', at)
    }
    seen.sound = Math.max(seen.sound ?? 0, at)
  }

  /** This side's view, in the form of the lab's reports. */
  function side() {
    return {
      host: '', ...seen.selected, end: call?.error ? call.error.code : call?.reason || '',
      connected_ns: seen.answered && seen.connected ? ns(seen.connected - seen.answered) : 0,
      first_media_ns: ns(seen.firstMedia ?? 0),
      pairs: seen.pairs.size, tried: seen.tried.size,
      packets_sent: seen.sent, packets_received: seen.received, packets_lost: seen.lost, video_frames: seen.frames,
      gap_ns: ns(seen.gap), gap_at_ns: seen.gapAt && call ? ns(seen.gapAt - call.startedAt) : 0, round_trip_ns: ns(seen.roundTrip), ice_restarts: seen.restarts,
      candidates: [...seen.candidates.values()],
    }
  }

  // -------------------------------------------------------------------- calls

  /** Camera and microphone, at the size that was asked for. Without either there is no call. */
  async function media({ audio, video }) {
    const { width, height, rate } = options
    try {
      return await navigator.mediaDevices.getUserMedia({ audio, video: video && { width, height, frameRate: rate } })
    } catch (e) {
      const words = { NotFoundError: 'there is none', NotAllowedError: 'the page was not allowed to', NotReadableError: 'it could not be read' }[e.name] || e.message
      throw new sdk.SwitchboardError({ code: 'media', msg: `camera and microphone were not opened: ${words}` })
    }
  }

  function follow(c) {
    call = c
    let state = ''
    const look = () => {
      if (c.isAnswered && !seen.answered) {
        seen.answered = clock() - (Date.now() - c.answeredAt)
        moment('answered', seen.answered)
      }
      if (c.answerToMediaMs !== null) seen.firstMedia ??= c.answerToMediaMs
      if (c.state === state) return
      state = c.state
      if (state === 'ringing' && c.role === 'caller') moment('ringing')
      if (state === 'reconnecting') moment('reconnecting')
      if (state === 'ended') {
        say({ view: side() })
        moment(`ended: ${c.error ? c.error.message : c.reason}`)
        say({ ended: { reason: c.reason, mine: c.mine, answered: c.isAnswered, error: failed(c.error) } })
      }
    }
    c.addEventListener('change', look)
    look()
  }

  const failed = (e) => e && { code: e.code || '', text: String(e.message || e) }

  /** Runs a step, and returns what came of it. @param {(arg: any) => any} f */
  const step = (f) => async (arg) => {
    try {
      return { done: await f(arg) ?? null }
    } catch (e) {
      return { error: failed(e) }
    }
  }

  addEventListener('error', (e) => moment(`the page failed: ${e.message}`))
  addEventListener('unhandledrejection', (e) => moment(`the page failed: ${e.reason?.message || e.reason}`))

  return {
    load: step(async (o) => {
      options = o
      sdk = await import(new URL('/switchboard.js', location.href).href)
      store = new sdk.Store()
    }),

    request: step(async ({ number }) => {
      const asked = await sdk.requestCode({ number })
      return { verification: asked.verification, number: asked.number }
    }),

    confirm: step(async ({ verification, code, device }) => { store.saveDevice(await sdk.confirm({ verification, code, device })) }),

    be: step((device) => { store.saveDevice(device) }),

    connect: step(async () => {
      client = new sdk.Client({ store, base: options.servers, relayOnly: options.relayOnly, name: 'natlab/browser', media })
      client.addEventListener('trouble', ({ detail }) => moment(`trouble: ${detail?.message}`))
      let state = ''
      client.addEventListener('state', () => {
        if (client.state === state || closing) return
        if (state === 'online') moment('the session is lost')
        else if (client.state === 'online') moment('online')
        state = client.state
      })
      await client.connect()
      setInterval(() => { if (call) say({ view: side() }) }, 1000)
    }),

    call: step(({ number }) => {
      moment('calling')
      follow(client.call(number, { video: true }))
    }),

    answer: step(() => {
      client.addEventListener('call', ({ detail: c }) => {
        if (call) return
        moment('ringing')
        follow(c)
        c.accept({ video: true }).catch((e) => {
          say({ ended: { reason: '', mine: true, answered: false, error: failed(e) } })
          c.busy()
        })
      })
      for (const c of client.calls.values()) if (c.role === 'callee') client.dispatchEvent(new CustomEvent('call', { detail: c }))
    }),

    side: step(() => side()),

    hangup: step(() => { if (call && call.state !== 'ended') call.hangup() }),

    // What was said last is on its way when this is done.
    leave: step(async () => {
      closing = true
      client?.bye()
      for (const pc of connections) pc.close()
      await new Promise((done) => setTimeout(done, 200))
    }),
  }
})()
