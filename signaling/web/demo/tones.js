// What a phone sounds like, made of sine waves: no files to load.

/** @type {AudioContext|null} */
let context = null
/** @type {ReturnType<typeof setInterval>|undefined} */
let loop
/** @type {GainNode|null} */
let bus = null
let silent = false

/** @param {boolean} on */
export function setSilent(on) {
  silent = on
  if (on) stop()
}

/** Browsers give sound only after the first touch; ask at each. */
export function unlock() {
  try {
    context ??= new AudioContext()
    if (context.state === 'suspended') context.resume().catch(() => {})
  } catch { /* a browser without sound */ }
}

/** The row and column of each key, as telephones have them (ITU-T Q.23). */
const rows = [697, 770, 852, 941]
const columns = [1209, 1336, 1477]
const keys = '123456789*0#'

/** @param {string} k */
export function key(k) {
  const i = keys.indexOf(k)
  if (i >= 0) play([rows[Math.floor(i / 3)], columns[i % 3]], 0.12, 0.04)
}

/** Somebody calls: two soft rising notes, again and again. */
export function ring() {
  repeat(() => {
    for (const [at, f] of [[0, 523.25], [0.16, 659.25], [0.32, 783.99], [0.7, 659.25], [0.86, 783.99]]) play([f, f * 2], 0.4, 0.09, at)
  }, 2600)
}

/** The other side rings. */
export function ringback() { repeat(() => play([440, 480], 1.6, 0.03), 4000) }

/** Another call while one talks: two soft knocks, now and then. */
export function waiting() {
  repeat(() => { for (const at of [0, 0.25]) play([440], 0.15, 0.025, at) }, 5000)
}

/** It did not work out. */
export function over() {
  stop()
  for (const at of [0, 0.35, 0.7]) play([480, 620], 0.2, 0.03, at)
}

/** A text came. */
export function blip() {
  play([880], 0.14, 0.05)
  play([1174.66], 0.2, 0.04, 0.09)
}

/** Stops what repeats. */
export function stop() {
  clearInterval(loop)
  loop = undefined
  if (bus && context) bus.gain.setTargetAtTime(0, context.currentTime, 0.02)
  bus = null
}

/** @param {() => void} f @param {number} every ms */
function repeat(f, every) {
  stop()
  if (silent) return
  unlock()
  f()
  loop = setInterval(f, every)
}

/** @param {number[]} frequencies @param {number} seconds @param {number} volume @param {number} [at] seconds from now */
function play(frequencies, seconds, volume, at = 0) {
  if (silent) return
  unlock()
  if (!context || context.state !== 'running') return
  if (!bus) {
    bus = context.createGain()
    bus.connect(context.destination)
  }
  const start = context.currentTime + at
  const gain = context.createGain()
  gain.gain.setValueAtTime(0, start)
  gain.gain.linearRampToValueAtTime(volume, start + 0.02)
  gain.gain.setValueAtTime(volume, start + Math.max(0.02, seconds - 0.06))
  gain.gain.linearRampToValueAtTime(0, start + seconds)
  gain.connect(bus)
  for (const f of frequencies) {
    const o = context.createOscillator()
    o.frequency.value = f
    o.connect(gain)
    o.start(start)
    o.stop(start + seconds)
  }
}
