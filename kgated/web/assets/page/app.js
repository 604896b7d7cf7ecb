/** The page: loads the model, runs files and the microphone through it, shows what comes out. */

import {KgatedError} from '../kgated/errors.js';
import {FrontEnd} from '../kgated/front_end.js';
import {load} from '../kgated/kgated.js';
import {framesOfFile, framesOfText, kindsOfInput} from './files.js';
import {chosenColumns} from './input_view.js';
import {Microphone} from './microphone.js';
import {Session} from './session.js';
import {measure} from './timing.js';
import {View} from './view.js';

const MODEL = 'model.tflite';
const FRAMES_PER_TURN = 200;
const view = new View();

/** The parts that a loaded model has. */
class Page {
  constructor(model) {
    this.model = model;
    this.session = new Session(model);
    this.microphone = null;
    this.turn = 0;
  }

  /** Runs frames as one sequence from zero state, and lets the page draw in between. */
  async runFrames(frames, what) {
    if (!frames.length) throw new KgatedError(`${what} has no whole frame: choose a longer one`);
    const turn = await this.#begin();
    for (let n = 0; n < frames.length; n += FRAMES_PER_TURN) {
      this.session.push(frames.slice(n, n + FRAMES_PER_TURN));
      view.showSession(this.session);
      await nextTurn();
      if (turn !== this.turn) return;
    }
    this.session.finish();
    view.showSession(this.session);
    const outputs = counted(this.session.count, 'output');
    const {notFinite} = this.session;
    const reset = `; NaN or infinity in ${counted(notFinite, 'step')}; states that were not finite were reset`;
    view.say(`${what}: ${counted(frames.length, 'frame')}, ${outputs}${notFinite ? reset : ''}.`);
  }

  async runFile(file) {
    const frames = await framesOfFile(file, this.model.manifest, chosenColumns());
    await this.runFrames(frames, file.name);
  }

  async runText(text) {
    await this.runFrames(framesOfText(text, this.model.manifest), 'The text');
  }

  async runGolden() {
    const steps = this.model.goldenSteps();
    await this.#begin();
    for (const step of steps) this.session.step(step);
    this.session.finish();
    view.showSession(this.session);
    view.say(`The golden frames of the file: ${steps.length} steps.`);
  }

  async toggleMicrophone() {
    if (this.microphone) return this.#begin();
    const turn = await this.#begin();
    const frontEnd = new FrontEnd(this.model.manifest.front_end);
    const microphone = new Microphone(frontEnd, (frames) => {
      if (turn !== this.turn) return;
      this.session.push(frames);
      view.showSession(this.session);
    });
    await microphone.start();
    if (turn !== this.turn) return microphone.stop(); // another run has begun in the meantime
    this.microphone = microphone;
    view.showMicrophone(true);
    view.say(`Listening, at ${microphone.rate} samples per second.`);
  }

  async measure() {
    view.showMeasured(await measure(this.model), this.session.deadline);
    this.session.reset();
  }

  /** Ends what runs, and starts from zero state. */
  async #begin() {
    this.turn += 1;
    if (this.microphone) {
      await this.microphone.stop();
      this.microphone = null;
      view.showMicrophone(false);
      view.say('The microphone is off.');
      this.session.finish();
      view.showSession(this.session);
      return this.turn;
    }
    this.session.reset();
    view.clear(this.session);
    return this.turn;
  }
}

const counted = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;
const nextTurn = () => new Promise((resolve) => setTimeout(resolve));

/** Runs an action of the user; its error becomes a sentence on the page. */
function guarded(action) {
  return async (...values) => {
    try {
      await action(...values);
    } catch (error) {
      view.say(error.message, true);
    }
  };
}

function connect(page) {
  const byId = (id) => document.getElementById(id);
  const runFile = guarded(async (files) => {
    if (files.length) await page.runFile(files[0]);
  });
  byId('file').addEventListener('change', async (event) => {
    await runFile([...event.target.files]);
    event.target.value = '';
  });
  byId('microphone').addEventListener('click', guarded(() => page.toggleMicrophone()));
  byId('text-form').addEventListener(
    'submit',
    guarded((event) => {
      event.preventDefault();
      return page.runText(byId('text').value);
    }),
  );
  byId('golden').addEventListener('click', guarded(() => page.runGolden()));
  byId('measure').addEventListener('click', guarded(() => page.measure()));
  byId('save').addEventListener('click', guarded(() => view.save(page.session)));
  const drop = byId('drop');
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    drop.classList.add('over');
  });
  document.addEventListener('dragleave', () => drop.classList.remove('over'));
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    drop.classList.remove('over');
    runFile([...event.dataTransfer.files]);
  });
}

async function main() {
  const model = await load(MODEL);
  const page = new Page(model);
  view.showModel(model.manifest, kindsOfInput(model.manifest), page.session.eventsNote);
  view.showSelftest(model.selftest());
  connect(page);
  await page.measure();
  document.documentElement.dataset.state = 'ready';
}

main().catch((error) => {
  view.fail(error.message);
  document.documentElement.dataset.state = 'failed';
});
