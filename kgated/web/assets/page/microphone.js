/** Frames from the microphone: an AudioWorklet hands over samples, the front end makes frames. */

import {toSamples} from '../kgated/audio_files.js';
import {KgatedError} from '../kgated/errors.js';
import {Resampler} from '../kgated/resample.js';

const WORKLET = new URL('./microphone_worklet.js', import.meta.url);

/** A microphone that runs until it is stopped. */
export class Microphone {
  /**
   * @param {import('../kgated/front_end.js').FrontEnd} frontEnd
   * @param {(frames: Float32Array[]) => void} take Receives frames as they are complete.
   */
  constructor(frontEnd, take) {
    this.frontEnd = frontEnd;
    this.take = take;
    this.rate = 0;
  }

  /** Asks for the microphone and starts. @throws {KgatedError} There is none, or it is refused. */
  async start() {
    if (!navigator.mediaDevices) {
      throw new KgatedError('a browser lends the microphone to https and localhost alone: use one');
    }
    // What a phone call does to sound is not what the model was trained on.
    const audio = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({audio: {...audio, channelCount: 1}});
    } catch (error) {
      throw new KgatedError(`the microphone cannot be used (${error.message}): allow it`);
    }
    try {
      await this.#connect();
    } catch (error) {
      await this.stop(); // else the browser goes on to show that the page listens
      throw error;
    }
  }

  async #connect() {
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule(WORKLET);
    this.rate = this.context.sampleRate;
    const {rate} = this.frontEnd.spec;
    this.resampler = this.rate === rate ? null : new Resampler(this.rate, rate);
    const node = new AudioWorkletNode(this.context, 'kgated-microphone', {numberOfOutputs: 0});
    node.port.onmessage = ({data}) => this.#push(toSamples(data));
    this.context.createMediaStreamSource(this.stream).connect(node);
    await this.context.resume();
  }

  #push(samples) {
    const resampled = this.resampler ? this.resampler.push(samples) : samples;
    this.take(this.frontEnd.push(resampled));
  }

  async stop() {
    for (const track of this.stream.getTracks()) track.stop();
    await this.context?.close();
  }
}
